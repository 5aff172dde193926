import { Button, CloseButton, Popover, TextInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState, type FormEvent } from "react";
import { useReadOnly } from "~/account/ReadOnly";
import { isFinal, type RunSummary } from "~/api/model";
import { cancelRun, changeRun, deleteRun } from "~/run/actions";
import { Icon } from "~/ui/icons";
import { useConfirm } from "~/ui/useConfirm";
import { failed, succeeded } from "~/ui/toast";
import classes from "./Runs.module.css";

const many = (runs: readonly unknown[]) => `${runs.length} ${runs.length === 1 ? "run" : "runs"}`;

/** What can be done with the selected runs. */
export function SelectionBar({ runs, clear }: { runs: RunSummary[]; clear: () => void }) {
  const client = useQueryClient();
  const readOnly = useReadOnly();
  const going = runs.filter((run) => !isFinal(run.state));
  const ended = runs.filter((run) => isFinal(run.state));
  /** All of them are tried, also after one was refused; the list shows what came of it. */
  const each = async (of: RunSummary[], act: (run: RunSummary) => Promise<unknown>) => {
    const done = await Promise.allSettled(of.map(act));
    const refused = done.find((one) => one.status === "rejected");
    if (refused) throw refused.reason;
  };
  const ends = (words: string) => ({
    onSuccess: () => {
      succeeded(words);
      clear();
    },
    onError: failed,
    onSettled: () => void client.invalidateQueries({ queryKey: ["runs"] }),
  });
  const cancel = useMutation({ mutationFn: () => each(going, (run) => cancelRun(run.id)), ...ends(`Cancelling ${many(going)}`) });
  const remove = useMutation({ mutationFn: () => each(ended, (run) => deleteRun(run.id)), ...ends(`Deleted ${many(ended)}`) });
  const [confirm, dialog] = useConfirm();
  const askCancel = () =>
    confirm({
      title: `Cancel ${many(going)}?`,
      text: "They stop after the step they are at. Checkpoints and metrics so far are kept.",
      action: "Cancel them",
      onConfirm: () => cancel.mutate(),
    });
  const askDelete = () =>
    confirm({
      title: `Delete ${many(ended)}?`,
      text: "They go with all their metrics, logs and checkpoints. This can’t be undone.",
      action: "Delete for good",
      isDangerous: true,
      onConfirm: () => remove.mutate(),
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
      {!readOnly && (
        <>
          <TagRuns runs={runs} />
          <Button size="xs" variant="default" disabled={!going.length} loading={cancel.isPending} onClick={askCancel} data-testid="cancel-selected">
            Cancel
          </Button>
          <Button size="xs" variant="default" disabled={!ended.length} loading={remove.isPending} onClick={askDelete} data-testid="delete-selected">
            Delete
          </Button>
        </>
      )}
      <CloseButton size="sm" onClick={clear} aria-label="Clear the selection" />
      {dialog}
    </div>
  );
}

/** Words add tags, words with a minus remove them. */
function TagRuns({ runs }: { runs: RunSummary[] }) {
  const client = useQueryClient();
  const [isOpen, setOpen] = useState(false);
  const [text, setText] = useState("");
  const words = text.split(/[\s,]+/).filter(Boolean);
  const change = useMutation({
    mutationFn: () => {
      const add_tags = words.filter((word) => !word.startsWith("-")).map((word) => word.replace(/^\+/, ""));
      const remove_tags = words.filter((word) => word.startsWith("-")).map((word) => word.slice(1));
      return Promise.all(runs.map((run) => changeRun(run.id, { add_tags, remove_tags })));
    },
    onSuccess: () => {
      setOpen(false);
      setText("");
    },
    onError: failed,
    onSettled: () => void client.invalidateQueries({ queryKey: ["runs"] }),
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (words.length) change.mutate();
  };
  return (
    <Popover opened={isOpen} onChange={setOpen} position="top" shadow="md" trapFocus returnFocus>
      <Popover.Target>
        <Button size="xs" variant="default" leftSection={<Icon name="tag" size={14} />} onClick={() => setOpen(!isOpen)} data-testid="tag-selected">
          Tag
        </Button>
      </Popover.Target>
      <Popover.Dropdown aria-label="Tag the selected runs">
        <form onSubmit={submit} style={{ display: "flex", gap: 8 }}>
          <TextInput
            size="xs"
            placeholder="ablation -tried"
            aria-label="Tags to add, and with a minus to remove"
            data-autofocus
            value={text}
            onChange={(event) => setText(event.currentTarget.value)}
            data-testid="tag-words"
          />
          <Button size="xs" type="submit" disabled={!words.length} loading={change.isPending} data-testid="tag-apply">
            Apply
          </Button>
        </form>
      </Popover.Dropdown>
    </Popover>
  );
}
