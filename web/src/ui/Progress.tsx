import type { RunSummary as Run } from "~/api/model";
import { isFinal } from "~/api/model";
import { count, shortDuration } from "~/ui/format";
import classes from "./Progress.module.css";

export function fractionDone(run: Run): number {
  return run.steps > 0 ? Math.min(1, run.step / run.steps) : 0;
}

/** Seconds to go by the recent step time; null where nobody can tell. */
export function secondsLeft(run: Run): number | null {
  const { step, steps, step_time_s: stepTime } = run;
  return run.state === "running" && stepTime && steps ? (steps - step) * stepTime : null;
}

function words(run: Run): string {
  const left = secondsLeft(run);
  if (left !== null && run.step < run.steps) return `${shortDuration(left)} left`;
  if (run.state === "running") return run.steps > 0 && run.step >= run.steps ? "evaluating" : "";
  if (!isFinal(run.state)) return run.state === "queued" ? "waiting" : "";
  const took = run.started_at && run.finished_at ? run.finished_at - run.started_at : null;
  return took === null ? "" : shortDuration(took);
}

/** Bar, steps and the time left (or taken). */
export function Progress({ run, wide = false }: { run: Run; wide?: boolean }) {
  const fraction = fractionDone(run);
  return (
    <div className={classes.progress} data-wide={wide || undefined}>
      <div
        className={classes.track}
        role="progressbar"
        aria-label={`Progress of ${run.name}`}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.round(100 * fraction)}
      >
        <div className={classes.fill} data-state={run.state} style={{ transform: `scaleX(${fraction})` }} />
      </div>
      <div className={`${classes.words} num`}>
        <span>{run.steps > 0 ? `${count(run.step)} / ${count(run.steps)}` : ""}</span>
        <span>{words(run)}</span>
      </div>
    </div>
  );
}
