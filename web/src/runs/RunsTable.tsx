import { Checkbox } from "@mantine/core";
import { Link, useNavigate } from "@tanstack/react-router";
import { memo, type MouseEvent } from "react";
import type { RunSummary } from "~/api/model";
import type { RunsSearch } from "~/router";
import type { Column } from "~/runs/columns";
import { useRowsInSight } from "~/runs/useRowsInSight";
import { Icon } from "~/ui/icons";
import { Tags } from "~/ui/Tags";
import classes from "./Runs.module.css";

export interface RowsProps {
  runs: RunSummary[];
  total: number;
  columns: readonly Column[];
  selected: ReadonlySet<string>;
  toggle: (id: string) => void;
  selectAll: (ids: string[]) => void;
  search: RunsSearch;
  setSearch: (patch: Partial<RunsSearch>) => void;
}

const NAME: Column = { id: "name", title: "Name", sort: "name", cell: (run) => <NameAndTags run={run} /> };
const ROW_HEIGHT_PX = 53;

/** Only the rows near the window are in the page, however many have been loaded. */
export function RunsTable({ runs, total, columns, selected, toggle, selectAll, search, setSearch }: RowsProps) {
  const isEverySelected = runs.every((run) => selected.has(run.id));
  const shown = columns.toSpliced(columns[0]?.id === "state" ? 1 : 0, 0, NAME);
  const { ref, rows, before, after } = useRowsInSight<HTMLTableSectionElement>(runs.length, ROW_HEIGHT_PX);
  return (
    <div className={classes.frame} tabIndex={0} role="region" aria-label="Runs, may be scrolled sideways">
      <table className={classes.table} data-testid="runs-table" aria-rowcount={total + 1}>
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
            {shown.map((column) => (
              <HeadCell key={column.id} column={column} current={search.sort ?? "-created"} onSort={(sort) => setSearch({ sort })} />
            ))}
          </tr>
        </thead>
        <tbody ref={ref}>
          {before > 0 && <Space height={before} />}
          {runs.slice(rows.first, rows.last).map((run, index) => (
            <Row key={run.id} run={run} place={rows.first + index + 2} columns={shown} isSelected={selected.has(run.id)} toggle={toggle} />
          ))}
          {after > 0 && <Space height={after} />}
        </tbody>
      </table>
    </div>
  );
}

const Space = ({ height }: { height: number }) => <tr aria-hidden style={{ height }} className={classes.space} />;

interface HeadProps {
  column: Column;
  current: string;
  onSort: (sort: string | undefined) => void;
}

function HeadCell({ column: { id, title, sort, isNumeric, hint }, current, onSort }: HeadProps) {
  const isDown = current === `-${sort}`;
  const isSorted = isDown || current === sort;
  const next = isSorted ? (isDown ? sort : `-${sort}`) : sort === "name" || sort === "state" ? sort : `-${sort}`;
  return (
    <th data-numeric={isNumeric} title={hint} aria-sort={isSorted ? (isDown ? "descending" : "ascending") : undefined}>
      {sort ? (
        <button
          type="button"
          className={classes.sort}
          data-sorted={isSorted || undefined}
          onClick={() => onSort(next === "-created" ? undefined : next)}
          data-testid={`sort-${id}`}
        >
          {title}
          <Icon name={isSorted && !isDown ? "arrowUp" : "arrowDown"} size={12} />
        </button>
      ) : (
        title
      )}
    </th>
  );
}

interface RowProps {
  run: RunSummary;
  place: number;
  columns: readonly Column[];
  isSelected: boolean;
  toggle: (id: string) => void;
}

const Row = memo(function Row({ run, place, columns, isSelected, toggle }: RowProps) {
  const navigate = useNavigate();
  const open = (event: MouseEvent) => {
    if (event.target instanceof Element && event.target.closest("a, button, input, label")) return;
    if (window.getSelection()?.toString()) return;
    void navigate({ to: "/runs/$id", params: { id: run.id } });
  };
  return (
    <tr
      onClick={open}
      aria-rowindex={place}
      data-testid="run-row"
      data-run={run.id}
      data-state={run.state}
      data-selected={isSelected || undefined}
    >
      <td className={classes.check}>
        <Checkbox size="xs" aria-label={`Select ${run.name}`} checked={isSelected} onChange={() => toggle(run.id)} />
      </td>
      {columns.map((column) => (
        <td
          key={column.id}
          data-numeric={column.isNumeric}
          className={column === NAME ? classes.nameCell : column.isNumeric ? "num" : undefined}
        >
          {column.cell(run)}
        </td>
      ))}
    </tr>
  );
});

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
