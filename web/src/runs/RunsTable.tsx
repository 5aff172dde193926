import { Checkbox } from "@mantine/core";
import { Link, useNavigate } from "@tanstack/react-router";
import type { MouseEvent, ReactNode } from "react";
import { exactAccuracy, kindWord, savedFraction, stepTime, type RunSummary } from "~/api/model";
import type { RunsSearch } from "~/router";
import { Ago } from "~/ui/Ago";
import { percent, seconds } from "~/ui/format";
import { Icon } from "~/ui/icons";
import { Progress } from "~/ui/Progress";
import { StateBadge } from "~/ui/StateBadge";
import { Tags } from "~/ui/Tags";
import { Variant } from "~/ui/variants";
import classes from "./Runs.module.css";

export interface RowsProps {
  runs: RunSummary[];
  selected: ReadonlySet<string>;
  toggle: (id: string) => void;
  selectAll: (ids: string[]) => void;
  search: RunsSearch;
  setSearch: (patch: Partial<RunsSearch>) => void;
}

const columns: { title: string; sort?: string; numeric?: boolean; hint?: string }[] = [
  { title: "State", sort: "state" },
  { title: "Name", sort: "name" },
  { title: "Progress" },
  { title: "Store" },
  { title: "Seed", numeric: true },
  { title: "Exact", sort: "metric.test.exact_accuracy", numeric: true, hint: "Unseen puzzles solved without a mistake" },
  { title: "Memory", sort: "metric.memory.saved_bytes", numeric: true, hint: "Activation bytes held for backward, beside eager training" },
  { title: "Step time", sort: "metric.time.step_s", numeric: true, hint: "Median over the recent training steps" },
  { title: "Created", sort: "created", numeric: true },
];

export function RunsTable({ runs, selected, toggle, selectAll, search, setSearch }: RowsProps) {
  const isEverySelected = runs.every((run) => selected.has(run.id));
  return (
    <div className={classes.frame}>
      <table className={classes.table} data-testid="runs-table">
        <thead>
          <tr>
            <th className={classes.check}>
              <Checkbox
                size="xs"
                aria-label="Select all shown"
                checked={isEverySelected}
                indeterminate={!isEverySelected && selected.size > 0}
                onChange={() => selectAll(isEverySelected ? [] : runs.map((run) => run.id))}
              />
            </th>
            {columns.map((column) => (
              <HeadCell key={column.title} {...column} current={search.sort ?? "-created"} onSort={(sort) => setSearch({ sort })} />
            ))}
          </tr>
        </thead>
        <tbody>
          {runs.map((run) => (
            <Row key={run.id} run={run} isSelected={selected.has(run.id)} toggle={toggle} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

interface HeadProps {
  title: string;
  sort?: string;
  numeric?: boolean;
  hint?: string;
  current: string;
  onSort: (sort: string | undefined) => void;
}

function HeadCell({ title, sort, numeric, hint, current, onSort }: HeadProps) {
  const isDown = current === `-${sort}`;
  const isSorted = isDown || current === sort;
  const next = isSorted ? (isDown ? sort : `-${sort}`) : sort === "name" || sort === "state" ? sort : `-${sort}`;
  return (
    <th data-numeric={numeric} title={hint} aria-sort={isSorted ? (isDown ? "descending" : "ascending") : undefined}>
      {sort ? (
        <button type="button" className={classes.sort} data-sorted={isSorted || undefined} onClick={() => onSort(next === "-created" ? undefined : next)}>
          {title}
          <Icon name={isSorted && !isDown ? "arrowUp" : "arrowDown"} size={12} />
        </button>
      ) : (
        title
      )}
    </th>
  );
}

function Row({ run, isSelected, toggle }: { run: RunSummary; isSelected: boolean; toggle: (id: string) => void }) {
  const navigate = useNavigate();
  const open = (event: MouseEvent) => {
    if (event.target instanceof Element && event.target.closest("a, button, input, label")) return;
    if (window.getSelection()?.toString()) return;
    void navigate({ to: "/runs/$id", params: { id: run.id } });
  };
  const saved = savedFraction(run);
  return (
    <tr onClick={open} data-testid="run-row" data-run={run.id} data-state={run.state} data-selected={isSelected || undefined}>
      <td className={classes.check}>
        <Checkbox size="xs" aria-label={`Select ${run.name}`} checked={isSelected} onChange={() => toggle(run.id)} />
      </td>
      <td>
        <StateBadge state={run.state} reason={run.reason} />
      </td>
      <td className={classes.nameCell}>
        <NameAndTags run={run} />
      </td>
      <td>
        <Progress run={run} />
      </td>
      <td>{run.kind !== "train" ? <span className="muted">{kindWord(run.kind)}</span> : <Variant store={run.store_kind} />}</td>
      <Num>{run.seed}</Num>
      <Num>
        <Accuracy run={run} />
      </Num>
      <Num>{saved === null ? <span className="faint">–</span> : <Saved fraction={saved} />}</Num>
      <Num>{run.kind !== "train" || stepTime(run) === null ? <span className="faint">–</span> : seconds(stepTime(run))}</Num>
      <Num>
        <span className="muted">
          <Ago time={run.created_at} />
        </span>
      </Num>
    </tr>
  );
}

export function NameAndTags({ run }: { run: RunSummary }) {
  return (
    <>
      <Link to="/runs/$id" params={{ id: run.id }} className={classes.name} title={run.name} data-testid="run-link">
        {run.name}
      </Link>
      <div className={classes.under}>
        <span className="num">#{run.number}</span>
        <Tags tags={run.tags} />
      </div>
    </>
  );
}

/** On unseen puzzles; before the first evaluation that of training, marked as such. */
export function Accuracy({ run }: { run: RunSummary }) {
  const exact = exactAccuracy(run);
  if (exact !== null) return <strong className={classes.strong}>{percent(exact)}</strong>;
  const training = run.latest["train.exact_accuracy"];
  if (training === null || training === undefined) return <span className="faint">–</span>;
  return (
    <span className="faint" title="On training batches; not evaluated yet">
      {percent(training)} <small>train</small>
    </span>
  );
}

export function Saved({ fraction }: { fraction: number }) {
  return (
    <span title={`${percent(fraction)} of eager's activation bytes`}>
      {fraction >= 0.9995 ? <span className="muted">as eager</span> : `−${percent(1 - fraction)}`}
    </span>
  );
}

function Num({ children }: { children: ReactNode }) {
  return (
    <td data-numeric className="num">
      {children}
    </td>
  );
}
