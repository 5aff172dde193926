import { Button, CloseButton } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useMutation } from "@tanstack/react-query";
import { isFinal, type RunSummary } from "~/api/model";
import { cancelRun } from "~/run/actions";
import { Icon } from "~/ui/icons";
import { useConfirm } from "~/ui/useConfirm";
import { failed, succeeded } from "~/ui/toast";
import classes from "./Runs.module.css";

/** What can be done with the selected runs. */
export function SelectionBar({ runs, clear }: { runs: RunSummary[]; clear: () => void }) {
  const going = runs.filter((run) => !isFinal(run.state));
  const cancel = useMutation({
    mutationFn: () => Promise.all(going.map((run) => cancelRun(run.id))),
    onSuccess: () => {
      succeeded(`Cancelling ${going.length} ${going.length === 1 ? "run" : "runs"}`);
      clear();
    },
    onError: failed,
  });
  const [confirm, dialog] = useConfirm();
  const askCancel = () =>
    confirm({
      title: `Cancel ${going.length} ${going.length === 1 ? "run" : "runs"}?`,
      text: "They stop after the step they are at. Checkpoints and metrics so far are kept.",
      action: "Cancel them",
      onConfirm: () => cancel.mutate(),
    });
  if (!runs.length) return dialog;
  return (
    <div className={classes.bar} role="toolbar" aria-label="Selected runs" data-testid="selection-bar">
      <span className={`${classes.barCount} num`}>{runs.length} selected</span>
      <Button
        size="xs"
        leftSection={<Icon name="compare" size={14} />}
        renderRoot={(props) => <Link to="/compare" search={{ run: runs.map((run) => run.id) }} {...props} />}
        data-testid="compare-selected"
      >
        Compare
      </Button>
      <Button size="xs" variant="default" disabled={!going.length} loading={cancel.isPending} onClick={askCancel} data-testid="cancel-selected">
        Cancel
      </Button>
      <CloseButton size="sm" onClick={clear} aria-label="Clear the selection" />
      {dialog}
    </div>
  );
}
