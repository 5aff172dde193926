import type { ExperimentGroup, Judgement, Mean } from "~/api/model";
import { times } from "~/experiments/Verdict";
import { bytes, percent, seconds } from "~/ui/format";
import { Panel } from "~/ui/Panel";
import { variantColor } from "~/ui/variants";
import classes from "./Experiments.module.css";

/** Every group's means over its seeds. */
export function GroupTable({ groups, verdicts }: { groups: readonly ExperimentGroup[]; verdicts: readonly Judgement[] }) {
  return (
    <Panel flush title="Groups" testId="groups" aside={<span className="faint">all runs that succeeded; mean and 95 % interval</span>}>
      <div className={classes.scroll} tabIndex={0} role="region" aria-label="Groups">
        <table className={`${classes.table} num`}>
          <thead>
            <tr>
              <th>Group</th>
              <th>Seeds</th>
              <th>Accuracy</th>
              <th>Activations</th>
              <th>Of eager</th>
              <th>Step time</th>
              <th>Step, paired</th>
              <th className={classes.words}>Front</th>
            </tr>
          </thead>
          <tbody>
            {groups.map((group) => (
              <Row key={group.name} group={group} judged={verdicts.find((each) => each.variant === group.name)} />
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

function Row({ group, judged }: { group: ExperimentGroup; judged: Judgement | undefined }) {
  const { saved_bytes: saved, eager_bytes: eager } = group;
  const fraction = saved.mean !== null && eager.mean ? saved.mean / eager.mean : null;
  return (
    <tr data-testid="group">
      <td>
        <span className={classes.swatch} style={{ background: variantColor(group.store) }} aria-hidden />
        {group.name}
      </td>
      <td>
        {group.metric.count} / {group.runs.length}
      </td>
      <Cell mean={group.metric} format={(value) => percent(value, 2)} />
      <Cell mean={saved} format={bytes} />
      <td>{percent(fraction)}</td>
      <Cell mean={group.step_time_s} format={seconds} />
      <td>{group.is_baseline ? "baseline" : judged ? times(judged.step_time_ratio, 2) : "–"}</td>
      <td className={classes.words}>{frontWords(group)}</td>
    </tr>
  );
}

function Cell({ mean: { mean, low, high }, format }: { mean: Mean; format: (value: number) => string }) {
  return (
    <td>
      {mean === null ? "–" : format(mean)}
      {low !== null && high !== null && low !== high && (
        <span className={classes.interval}>
          {format(low)} to {format(high)}
        </span>
      )}
    </td>
  );
}

function frontWords(group: ExperimentGroup): string {
  if (group.metric.mean === null) return "–";
  if (!group.dominated_by.length) return "on it";
  return `dominated${group.is_clearly_dominated ? "" : ", within intervals"}`;
}
