import { Button, Menu } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { useReadOnly } from "~/account/ReadOnly";
import { API } from "~/api/client";
import { isFinal, type Run } from "~/api/model";
import { artifactsQuery, forgetRun } from "~/api/queries";
import { cancelRun, deleteRun, pauseRun, resumeRun } from "~/run/actions";
import { NotifyButton } from "~/shell/NotifyButton";
import { Icon } from "~/ui/icons";
import { failed, succeeded } from "~/ui/toast";
import { useConfirm } from "~/ui/useConfirm";

/** Clone, pause, resume, cancel, delete, download: what can be done with this run now. */
export function RunActions({ run }: { run: Run }) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const [confirm, dialog] = useConfirm();
  const readOnly = useReadOnly();
  const cancel = useMutation({
    mutationFn: () => cancelRun(run.id),
    onSuccess: (changed) => client.setQueryData(["run", run.id], changed),
    onError: failed,
  });
  const remove = useMutation({
    mutationFn: () => deleteRun(run.id),
    onSuccess: async () => {
      succeeded(`Deleted ${run.name}`);
      await navigate({ to: "/" });
      forgetRun(client, run.id);
    },
    onError: failed,
  });
  const askCancel = () =>
    confirm({
      title: "Cancel this run?",
      text: "It stops after the step it is at. Metrics and checkpoints so far are kept.",
      action: "Cancel the run",
      onConfirm: () => cancel.mutate(),
    });
  const askDelete = () =>
    confirm({
      title: "Delete this run?",
      text: `“${run.name}” goes with all its metrics, logs and checkpoints. This can’t be undone.`,
      action: "Delete for good",
      isDangerous: true,
      onConfirm: () => remove.mutate(),
    });
  const notify = !isFinal(run.state) && <NotifyButton path={`/runs/${run.id}`} />;
  if (readOnly)
    return (
      <div style={{ display: "flex", gap: 8, flexWrap: "wrap" }}>
        {notify}
        <Download run={run} />
      </div>
    );
  return (
    <div style={{ display: "flex", gap: 8, flexWrap: "wrap" }}>
      {notify}
      <Download run={run} />
      {!isFinal(run.state) && <PauseOrResume run={run} />}
      <Button
        variant="default"
        leftSection={<Icon name="clone" />}
        renderRoot={(props) => <Link to="/new" search={{ from: run.id }} {...props} />}
        data-testid="clone"
      >
        Clone
      </Button>
      {isFinal(run.state) ? (
        <Button variant="default" leftSection={<Icon name="trash" />} loading={remove.isPending} onClick={askDelete} data-testid="delete">
          Delete
        </Button>
      ) : (
        <Button
          variant="default"
          leftSection={<Icon name="stop" />}
          loading={cancel.isPending}
          disabled={run.state === "cancelling"}
          onClick={askCancel}
          data-testid="cancel"
        >
          {run.state === "cancelling" ? "Cancelling" : "Cancel"}
        </Button>
      )}
      {dialog}
    </div>
  );
}

function PauseOrResume({ run }: { run: Run }) {
  const client = useQueryClient();
  const isPaused = run.state === "paused" || run.state === "pausing";
  const change = useMutation({
    mutationFn: () => (isPaused ? resumeRun : pauseRun)(run.id),
    onSuccess: (changed) => client.setQueryData(["run", run.id], changed),
    onError: failed,
  });
  return (
    <Button
      variant="default"
      leftSection={<Icon name={isPaused ? "play" : "pause"} />}
      loading={change.isPending}
      disabled={run.state === "pausing" || run.state === "cancelling"}
      onClick={() => change.mutate()}
      data-testid={isPaused ? "resume" : "pause"}
    >
      {run.state === "pausing" ? "Pausing" : isPaused ? "Resume" : "Pause"}
    </Button>
  );
}

/** The newest checkpoint's files and the metrics. */
function Download({ run }: { run: Run }) {
  const { data } = useQuery(artifactsQuery(run.id));
  const kept = data?.items.filter((file) => file.size_bytes !== null) ?? [];
  const newest = kept.reduce<number>((step, file) => Math.max(step, file.step), -1);
  const files = kept.filter((file) => file.step === newest);
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <Button variant="default" leftSection={<Icon name="download" />} data-testid="download">
          Download
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        {files.length > 0 && <Menu.Label>Checkpoint of step {newest}</Menu.Label>}
        {files.map((file) => (
          <Menu.Item key={file.id} component="a" href={`${API}/artifacts/${file.id}`} download leftSection={<Icon name="file" size={14} />}>
            {file.name}
          </Menu.Item>
        ))}
        {files.length > 0 && <Menu.Divider />}
        <Menu.Item component="a" href={`${API}/runs/${run.id}/metrics.csv`} download leftSection={<Icon name="runs" size={14} />}>
          metrics.csv
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
