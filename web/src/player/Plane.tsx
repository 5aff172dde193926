import type { Inspection, Place } from "~/api/model";
import { percent } from "~/ui/format";
import classes from "./Player.module.css";

const WIDTH = 320;
const HEIGHT = 220;
const AIR = 14;

/** The latent's way in two directions: what is behind strong, what is ahead faint. */
export function Plane({ inspection, frame, color }: { inspection: Inspection; frame: number; color: string }) {
  const latents = inspection.path.map((place, i) => ({ place, i })).filter(({ place }) => place.state === "latent");
  const at = scaleOf(latents.map(({ place }) => place));
  const points = latents.map(({ place }) => at(place).map((v) => v.toFixed(1)).join(","));
  const behind = latents.filter(({ i }) => i <= frame).length;
  const now = latents[Math.max(0, behind - 1)];
  const starts = latents.filter(({ place }) => place.cycle === 1 && place.recursion_step === 1);
  return (
    <figure className={classes.figure} data-testid="plane" data-plane={inspection.plane}>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} className={classes.plane} role="img" aria-label={`The latent’s way, ${behind} of ${latents.length} updates`}>
        <polyline points={points.join(" ")} className={classes.ahead} style={{ stroke: color }} />
        <polyline points={points.slice(0, behind).join(" ")} className={classes.behind} style={{ stroke: color }} />
        {starts.map(({ place, i }) => (
          <circle key={i} cx={at(place)[0]} cy={at(place)[1]} r={2.4} style={{ fill: color }} opacity={i <= frame ? 1 : 0.3}>
            <title>{`supervision step ${place.supervision_step}`}</title>
          </circle>
        ))}
        {now && <circle cx={at(now.place)[0]} cy={at(now.place)[1]} r={5} className={classes.now} style={{ fill: color }} />}
      </svg>
      <figcaption>
        The latent, averaged over positions, in the plane {inspection.plane === "tracked" ? "of the tracked subspace" : "(training tracked no subspace of it)"} in which it moves
        most: {percent(inspection.plane_share, 0)} of its movement. Dots mark where a supervision step begins.
      </figcaption>
    </figure>
  );
}

/** Both axes have one scale, so that distances are true. */
function scaleOf(places: readonly Place[]): (place: Place) => [number, number] {
  const [xs, ys] = [places.map((p) => p.x), places.map((p) => p.y)];
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const unit = Math.min((WIDTH - 2 * AIR) / (right - left || 1), (HEIGHT - 2 * AIR) / (high - low || 1));
  return ({ x, y }) => [WIDTH / 2 + (x - (left + right) / 2) * unit, HEIGHT / 2 - (y - (low + high) / 2) * unit];
}
