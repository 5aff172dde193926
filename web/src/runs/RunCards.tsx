import { Checkbox } from "@mantine/core";
import { savedFraction, stepTime, kindWord } from "~/api/model";
import { Accuracy, Saved, USUAL } from "~/runs/columns";
import { NameAndTags, type RowsProps } from "~/runs/RunsTable";
import { Ago } from "~/ui/Ago";
import { seconds } from "~/ui/format";
import { Progress } from "~/ui/Progress";
import { StateBadge } from "~/ui/StateBadge";
import { Variant } from "~/ui/variants";
import classes from "./RunCards.module.css";

/** The table's rows on a narrow window. */
export function RunCards({ runs, columns, selected, toggle }: RowsProps) {
  const more = columns.filter((column) => !USUAL.includes(column.id));
  return (
    <ul className={classes.list} data-testid="runs-cards">
      {runs.map((run) => {
        return (
          <li key={run.id} className={classes.card} data-testid="run-row" data-run={run.id} data-state={run.state}>
            <div className={classes.head}>
              <StateBadge state={run.state} reason={run.reason} />
              <span className={`${classes.when} muted`}>
                <Ago time={run.created_at} />
              </span>
              <Checkbox size="sm" aria-label={`Select ${run.name}`} checked={selected.has(run.id)} onChange={() => toggle(run.id)} />
            </div>
            <NameAndTags run={run} />
            <div className={classes.bar}>
              <Progress run={run} />
            </div>
            <dl className={classes.facts}>
              <div>
                <dt>Store</dt>
                <dd>{run.kind !== "train" ? kindWord(run.kind) : <Variant store={run.store_kind} />}</dd>
              </div>
              <div>
                <dt>Exact</dt>
                <dd className="num">
                  <Accuracy run={run} />
                </dd>
              </div>
              <div>
                <dt>Memory</dt>
                <dd className="num"><Saved fraction={savedFraction(run)} /></dd>
              </div>
              <div>
                <dt>Step</dt>
                <dd className="num">{run.kind === "train" ? seconds(stepTime(run)) : "–"}</dd>
              </div>
              {more.map((column) => (
                <div key={column.id}>
                  <dt>{column.title}</dt>
                  <dd className="num">{column.cell(run)}</dd>
                </div>
              ))}
            </dl>
          </li>
        );
      })}
    </ul>
  );
}
