import type { State } from "~/api/model";
import classes from "./StateBadge.module.css";

const tone: Record<State, string> = {
  queued: "idle", starting: "busy", running: "live", pausing: "busy", paused: "idle",
  cancelling: "busy", cancelled: "off", succeeded: "good", failed: "bad",
};

/** The state as a word with a dot, so that colour alone never tells. */
export function StateBadge({ state, reason }: { state: State; reason?: string | undefined }) {
  return (
    <span className={classes.badge} data-tone={tone[state]} data-testid="state-badge" data-state={state} title={reason || undefined}>
      <span className={classes.dot} aria-hidden />
      {state}
    </span>
  );
}
