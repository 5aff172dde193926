import { Link } from "@tanstack/react-router";
import type { ExperimentGroup, State } from "~/api/model";
import { bytes, percent, seconds } from "~/ui/format";
import { Panel } from "~/ui/Panel";
import { StateBadge } from "~/ui/StateBadge";
import classes from "./Experiments.module.css";

/** Every run with its state and how far it is. */
export function Members({ groups }: { groups: readonly ExperimentGroup[] }) {
  const rows = groups
    .flatMap((group) => group.runs.map((run) => ({ group, run })))
    .sort((a, b) => a.run.seed - b.run.seed || a.run.number - b.run.number);
  return (
    <Panel flush title="Runs" testId="members" aside={<span className="faint">pairs side by side</span>}>
      <div className={classes.scroll} style={{ maxHeight: 460, overflowY: "auto" }} tabIndex={0} role="region" aria-label="Runs of the experiment">
        <table className={`${classes.table} num`}>
          <thead>
            <tr>
              <th>Run</th>
              <th>Seed</th>
              <th className={classes.words}>Group</th>
              <th className={classes.words}>State</th>
              <th>Steps</th>
              <th>Accuracy</th>
              <th>Activations</th>
              <th>Step</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(({ group, run }) => (
              <tr key={run.run_id}>
                <td>
                  <Link to="/runs/$id" params={{ id: run.run_id }} className={classes.link}>
                    #{run.number}
                  </Link>
                </td>
                <td>{run.seed}</td>
                <td className={classes.words}>{group.name}</td>
                <td className={classes.words}>
                  <StateBadge state={run.state as State} />
                </td>
                <td>
                  {run.step} / {run.steps}
                </td>
                <td>{percent(run.metric, 2)}</td>
                <td>{bytes(run.saved_bytes)}</td>
                <td>{seconds(run.step_time_s)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}
