import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { workersQuery } from "~/api/queries";
import { Icon } from "~/ui/icons";
import classes from "./WorkersLine.module.css";

/** One line in the navigation: is anybody there to train? */
export function WorkersLine() {
  const { data } = useQuery(workersQuery());
  if (!data) return null;
  const alive = data.items.filter((worker) => worker.alive);
  const slots = alive.reduce((sum, worker) => sum + worker.slots, 0);
  const busy = alive.reduce((sum, worker) => sum + worker.runs.length, 0);
  return (
    <Link to="/workers" className={classes.line} data-testid="workers-line" data-none={!alive.length || undefined}>
      {alive.length ? (
        <>
          <span className={classes.slots} aria-hidden>
            {Array.from({ length: Math.min(slots, 8) }, (_, i) => (
              <i key={i} data-busy={i < busy || undefined} />
            ))}
          </span>
          <span className="num">
            {busy} of {slots} {slots === 1 ? "slot" : "slots"} busy
          </span>
        </>
      ) : (
        <>
          <Icon name="warning" size={14} /> No worker is alive
        </>
      )}
    </Link>
  );
}
