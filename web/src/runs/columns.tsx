/** Every column that the run list can show: some made for it, any metric, and any value of the configuration. */
import { readLocalStorageValue, useLocalStorage } from "@mantine/hooks";
import type { ReactNode } from "react";
import { exactAccuracy, kindWord, savedFraction, stepTime, type RunSummary } from "~/api/model";
import { Ago } from "~/ui/Ago";
import { duration, percent, seconds, value as rounded } from "~/ui/format";
import { Progress } from "~/ui/Progress";
import { StateBadge } from "~/ui/StateBadge";
import { Variant } from "~/ui/variants";
import classes from "./Runs.module.css";

export interface Column {
  id: string;
  title: string;
  sort?: string;
  isNumeric?: boolean;
  hint?: string;
  cell: (run: RunSummary) => ReactNode;
}

const none = <span className="faint">–</span>;
const time = (id: string, title: string, of: (run: RunSummary) => number | null): Column => ({
  id,
  title,
  sort: id,
  isNumeric: true,
  cell: (run) => {
    const at = of(run);
    return at === null ? none : <span className="muted"><Ago time={at} /></span>;
  },
});

/** The name stands between the first and the rest in every table. */
export const COLUMNS: readonly Column[] = [
  { id: "state", title: "State", sort: "state", cell: (run) => <StateBadge state={run.state} reason={run.reason} /> },
  { id: "progress", title: "Progress", cell: (run) => <Progress run={run} /> },
  { id: "store", title: "Store", sort: "store", cell: (run) => (run.kind === "train" ? <Variant store={run.store_kind} /> : <span className="muted">{kindWord(run.kind)}</span>) },
  { id: "seed", title: "Seed", sort: "seed", isNumeric: true, cell: (run) => run.seed },
  { id: "exact", title: "Exact", sort: "metric.test.exact_accuracy", isNumeric: true, hint: "Unseen puzzles solved without a mistake", cell: (run) => <Accuracy run={run} /> },
  { id: "memory", title: "Memory", sort: "metric.memory.saved_bytes", isNumeric: true, hint: "Activation bytes held for backward, beside eager training", cell: (run) => <Saved fraction={savedFraction(run)} /> },
  { id: "step_time", title: "Step time", sort: "metric.time.step_s", isNumeric: true, hint: "Median over the recent training steps", cell: (run) => (run.kind !== "train" || stepTime(run) === null ? none : seconds(stepTime(run))) },
  time("created", "Created", (run) => run.created_at),
  time("started", "Started", (run) => run.started_at),
  time("finished", "Finished", (run) => run.finished_at),
  { id: "took", title: "Took", sort: "took", isNumeric: true, cell: (run) => (run.started_at && run.finished_at ? duration(run.finished_at - run.started_at) : none) },
  { id: "steps", title: "Steps", sort: "steps", isNumeric: true, cell: (run) => run.steps },
  { id: "owner", title: "Owner", cell: (run) => run.owner_name },
  { id: "priority", title: "Priority", sort: "priority", cell: (run) => run.priority },
  { id: "worker", title: "Worker", sort: "worker", cell: (run) => run.worker_id ?? none },
  { id: "attempt", title: "Attempt", sort: "attempt", isNumeric: true, cell: (run) => run.attempt },
];
export const USUAL: readonly string[] = ["state", "progress", "store", "seed", "exact", "memory", "step_time", "created"];
const KEPT = "laser-run-columns";

/** A column by its id; `metric.KEY` and `config.FIELD` are made here. */
export function columnOf(id: string): Column | undefined {
  if (id.startsWith("metric.")) {
    const cell = (run: RunSummary) => {
      const value = run.latest[id.slice("metric.".length)];
      return value === null || value === undefined ? none : rounded(value);
    };
    return { id, title: id.slice("metric.".length), sort: id, isNumeric: true, hint: "Newest value of the metric", cell };
  }
  if (id.startsWith("config.")) {
    const name = id.slice("config.".length);
    return { id, title: name, sort: id, isNumeric: true, hint: "From the configuration", cell: (run) => String(run.fields[name] ?? "–") };
  }
  return COLUMNS.find((column) => column.id === id);
}

/** The columns to show: the address's, else those kept on this device, else the usual ones. */
export function useColumns(inAddress: readonly string[] | undefined, setAddress: (ids: string[] | undefined) => void) {
  const [kept, keep] = useLocalStorage<string[] | null>({ key: KEPT, defaultValue: readLocalStorageValue<string[] | null>({ key: KEPT }) ?? null });
  const ids = inAddress ?? kept ?? USUAL;
  const choose = (chosen: string[] | null) => {
    keep(chosen);
    setAddress(chosen ?? undefined);
  };
  return { ids, columns: ids.map(columnOf).filter((column) => column !== undefined), choose, isUsual: ids.join() === USUAL.join() };
}

/** On unseen puzzles; before the first evaluation that of training, marked as such. */
export function Accuracy({ run }: { run: RunSummary }) {
  const exact = exactAccuracy(run);
  if (exact !== null) return <strong className={classes.strong}>{percent(exact)}</strong>;
  const training = run.latest["train.exact_accuracy"];
  if (training === null || training === undefined) return none;
  return (
    <span className="faint" title="On training batches; not evaluated yet">
      {percent(training)} <small>train</small>
    </span>
  );
}

export function Saved({ fraction }: { fraction: number | null }) {
  if (fraction === null) return none;
  return (
    <span title={`${percent(fraction)} of eager's activation bytes`}>
      {fraction >= 0.9995 ? <span className="muted">as eager</span> : `−${percent(1 - fraction)}`}
    </span>
  );
}
