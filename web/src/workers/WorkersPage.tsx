import { Button, Skeleton } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useReadOnly } from "~/account/ReadOnly";
import { request } from "~/api/client";
import type { Run, Worker } from "~/api/model";
import { meQuery, runQuery, workersQuery } from "~/api/queries";
import { Ago } from "~/ui/Ago";
import { Command } from "~/ui/Copy";
import { Empty, Failure } from "~/ui/Empty";
import { PageHead } from "~/ui/PageHead";
import { bytes } from "~/ui/format";
import { Progress } from "~/ui/Progress";
import { failed } from "~/ui/toast";
import { QueuePanels } from "./QueuePanels";
import classes from "./WorkersPage.module.css";

export function WorkersPage() {
  const workers = useQuery(workersQuery());
  return (
    <>
      <PageHead title="Pool" sub="Workers take queued runs and train them, one in each slot; the queue says whose turn it is." />
      {workers.isPending && <Skeleton height={120} radius="lg" />}
      {workers.isError && <Failure error={workers.error} retry={() => void workers.refetch()} />}
      {workers.data?.items.length === 0 && (
        <Empty icon="workers" title="No worker has ever reported here" actions={<Command text="laser up" />}>
          Queued runs wait until one comes. This starts the server together with a worker:
        </Empty>
      )}
      <ul className={classes.list}>
        {workers.data?.items.map((worker) => <WorkerCard key={worker.id} worker={worker} />)}
      </ul>
      <QueuePanels />
    </>
  );
}

function WorkerCard({ worker }: { worker: Worker }) {
  return (
    <li className={classes.card} data-testid="worker" data-alive={worker.alive || undefined}>
      <div className={classes.head}>
        <span className={classes.dot} aria-hidden />
        <strong className="truncate">{worker.host}</strong>
        <span className="faint num">pid {worker.pid}</span>
        <span className={classes.state} data-testid="worker-state">
          {stateWords(worker)}
        </span>
        {worker.alive && <DrainButton worker={worker} />}
      </div>
      <dl className={classes.facts}>
        {stateWords(worker) === TAKES_NOTHING && (
          <>
            <dt>Why</dt>
            <dd data-testid="worker-unable">{worker.unable}</dd>
          </>
        )}
        <dt>Device</dt>
        <dd>{worker.device}</dd>
        <dt>Seen</dt>
        <dd>
          <Ago time={worker.seen_at} />
        </dd>
        <dt>Up since</dt>
        <dd>
          <Ago time={worker.started_at} />
        </dd>
        <dt>Version</dt>
        <dd className="mono">{worker.version}</dd>
      </dl>
      {worker.devices.map((device) => device.memory_bytes > 0 && <DeviceMemory key={device.uid} device={device} />)}
      <div className={classes.slots}>
        {Array.from({ length: Math.max(worker.alive ? worker.slots : 0, worker.runs.length) }, (_, i) => (
          <Slot key={i} run={worker.runs[i]} />
        ))}
      </div>
    </li>
  );
}

/** How much of a device's memory is reserved for runs, and how much is measured to be used. */
function DeviceMemory({ device }: { device: Worker["devices"][number] }) {
  const { memory_bytes: total, used_bytes: used, reserved_bytes: reserved } = device;
  const words = `${bytes(reserved)} reserved, ${bytes(used)} used, ${bytes(Math.max(0, total - Math.max(used, reserved)))} free`;
  return (
    <div className={classes.device} title={device.uid} data-testid="device">
      <span>
        {device.name} · {shortName(device.uid)} · {device.runs} {device.runs === 1 ? "run" : "runs"}
      </span>
      <span className="faint num">
        {words} of {bytes(total)}
      </span>
      <span className={classes.memory} aria-hidden>
        <i style={{ width: `${Math.min(100, (100 * reserved) / total)}%` }} />
        <b style={{ width: `${Math.min(100, (100 * used) / total)}%` }} />
      </span>
    </div>
  );
}

const TAKES_NOTHING = "takes nothing";

function stateWords(worker: Worker): string {
  if (!worker.alive) return "gone";
  if (worker.outdated) return "of another version: takes nothing";
  if (worker.drained_at === null) return worker.unable ? TAKES_NOTHING : "alive";
  return worker.runs.length ? "drained: gives its runs back" : "drained";
}

/** For admins: a drained worker gives its runs back and takes nothing new. */
function DrainButton({ worker }: { worker: Worker }) {
  const client = useQueryClient();
  const { data: me } = useQuery(meQuery());
  const readOnly = useReadOnly();
  const isDrained = worker.drained_at !== null;
  const change = useMutation({
    mutationFn: () => request<Worker>(`/workers/${encodeURIComponent(worker.id)}/${isDrained ? "undrain" : "drain"}`, { method: "POST" }),
    onSuccess: () => client.invalidateQueries({ queryKey: ["workers"] }),
    onError: failed,
  });
  if (readOnly || me?.role !== "admin") return null;
  return (
    <Button size="compact-xs" variant="default" loading={change.isPending} onClick={() => change.mutate()} data-testid="drain">
      {isDrained ? "Undrain" : "Drain"}
    </Button>
  );
}

/** The end of a device's name: "cpu0" of "worker@node:17/cpu0", "GPU-8f3a21bc" of a GPU's. */
const shortName = (uid: string) => uid.split("/").at(-1)?.slice(0, 12) ?? uid;

/** Which devices a run on several holds. */
function DevicesHeld({ run }: { run: Run }) {
  const uids = run.device?.split(" ") ?? [];
  return (
    <span className="faint truncate" title={uids.join(", ")} data-testid="devices-held">
      {run.gpus} GPUs: {uids.map(shortName).join(", ")}
    </span>
  );
}

function Slot({ run: id }: { run: string | undefined }) {
  const { data: run } = useQuery({ ...runQuery(id ?? ""), enabled: id !== undefined, refetchInterval: 5000 });
  if (id === undefined) return <div className={classes.slot}>Free slot</div>;
  return (
    <Link to="/runs/$id" params={{ id }} className={classes.slot} data-busy>
      <span className="truncate">{run?.name ?? id}</span>
      {run && run.gpus > 1 && <DevicesHeld run={run} />}
      {run && <Progress run={run} />}
    </Link>
  );
}
