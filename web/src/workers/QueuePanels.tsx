import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import type { Queue, Standing, WaitingRun } from "~/api/model";
import { queueQuery } from "~/api/queries";
import { duration, percent } from "~/ui/format";
import { Panel } from "~/ui/Panel";
import classes from "./QueuePanels.module.css";

/** What waits, in the order in which it will start, and what everybody has used. */
export function QueuePanels() {
  const { data: queue } = useQuery(queueQuery());
  if (!queue) return null;
  return (
    <div className={classes.panels}>
      <Panel title="Queue" aside={`${queue.total} waiting · ${queue.busy} of ${queue.slots} slots busy`} flush testId="queue">
        {queue.items.length === 0 ? <p className={classes.none}>Nothing waits.</p> : <Waiting queue={queue} />}
      </Panel>
      {queue.standings.length > 0 && (
        <Panel title="Shares" aside="usage fades with time" flush testId="standings">
          <Standings standings={queue.standings} />
        </Panel>
      )}
    </div>
  );
}

function Waiting({ queue }: { queue: Queue }) {
  const owners = new Map(queue.standings.map((standing) => [standing.user, standing.name]));
  return (
    <Table head={["#", "Run", "Owner", "Band", "Priority", "Waits", "Starts"]}>
      {queue.items.map((run, index) => (
        <tr key={run.run_id || index}>
          <td className="num">{run.position ?? "–"}</td>
          <td className={classes.name}>
            {run.run_id ? (
              <Link to="/runs/$id" params={{ id: run.run_id }} className="plain-link truncate">
                {run.name}
              </Link>
            ) : (
              <span className="faint">a run of somebody else</span>
            )}
            <div className="faint truncate" title={run.reason}>{run.reason}</div>
          </td>
          <td>{owners.get(run.owner) ?? run.owner}</td>
          <td>{run.band}</td>
          <td className="num" title={priorityWords(run)}>
            {run.priority.toFixed(3)}
          </td>
          <td className="num">{duration(run.waited_s)}</td>
          <td className="num">{startWords(run)}</td>
        </tr>
      ))}
    </Table>
  );
}

function Standings({ standings }: { standings: Standing[] }) {
  const used = standings.reduce((sum, standing) => sum + standing.usage_s, 0);
  return (
    <Table head={["User", "Share", "Used of late", "Fair share", "Running", "Waiting"]}>
      {standings.map((standing) => (
        <tr key={standing.user}>
          <td>{standing.name}</td>
          <td className="num">{percent(standing.share)}</td>
          <td className={classes.used}>
            <span className={classes.bar} aria-hidden>
              <span style={{ width: `${used ? (100 * standing.usage_s) / used : 0}%` }} />
              <i style={{ left: `${100 * standing.share}%` }} />
            </span>
            <span className="num">{duration(standing.usage_s)}</span>
          </td>
          <td className="num">{standing.fair_share.toFixed(3)}</td>
          <td className="num">{standing.running}</td>
          <td className="num">{standing.waiting}</td>
        </tr>
      ))}
    </Table>
  );
}

function Table({ head, children }: { head: string[]; children: ReactNode }) {
  return (
    <div className={classes.scroll} tabIndex={0} role="region" aria-label="Table, may be scrolled sideways">
      <table className={classes.table}>
        <thead>
          <tr>
            {head.map((name) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

/** When it is thought to start. */
export function startWords(run: WaitingRun): string {
  if (run.position === null) return "–";
  if (run.starts_in_s === null) return "not known yet";
  return run.starts_in_s < 1 ? "now" : `in about ${duration(run.starts_in_s)}`;
}

export function priorityWords(run: WaitingRun): string {
  return `fair share ${run.fair_share.toFixed(3)} + age ${run.age.toFixed(3)} (${duration(run.waited_s)} of waiting)`;
}
