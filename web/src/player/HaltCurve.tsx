import type { Inspection } from "~/api/model";
import { halting } from "~/player/frames";
import { percent } from "~/ui/format";
import classes from "./Player.module.css";

export interface Side {
  name: string;
  color: string;
  inspection: Inspection;
  frame: number;
}

const WIDTH = 640;
const HEIGHT = 150;
const LEFT = 40;
const BOTTOM = 18;

/** The halting value over supervision steps, read after every cycle; above one half the model wishes to halt. */
export function HaltCurve({ sides }: { sides: readonly Side[] }) {
  const steps = Math.max(...sides.map(({ inspection }) => inspection.readings.at(-1)?.supervision_step ?? 1));
  const x = (step: number) => LEFT + (step / steps) * (WIDTH - LEFT - 8);
  const y = (value: number) => 8 + (1 - value) * (HEIGHT - BOTTOM - 8);
  const ticks = steps <= 8 ? 1 : steps <= 16 ? 2 : Math.ceil(steps / 8);
  return (
    <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} className={classes.curve} role="img" aria-label={sides.map(inWords).join("; ")} data-testid="halt-curve">
      {[0, 0.5, 1].map((value) => (
        <g key={value}>
          <line x1={LEFT} x2={WIDTH - 8} y1={y(value)} y2={y(value)} className={value === 0.5 ? classes.half : classes.gridline} />
          <text x={LEFT - 6} y={y(value) + 3.5} className={classes.tick} textAnchor="end">
            {percent(value, 0)}
          </text>
        </g>
      ))}
      {Array.from({ length: Math.floor(steps / ticks) }, (_, i) => (i + 1) * ticks).map((step) => (
        <text key={step} x={x(step)} y={HEIGHT - 4} className={classes.tick} textAnchor="middle">
          {step}
        </text>
      ))}
      {sides.map((side) => (
        <Curve key={side.name} side={side} x={x} y={y} />
      ))}
    </svg>
  );
}

function Curve({ side, x, y }: { side: Side; x: (step: number) => number; y: (value: number) => number }) {
  const { inspection, frame, color } = side;
  const at = (i: number): [number, number] => [x((i + 1) / inspection.cycles), y(halting(inspection.readings[i]) ?? 0)];
  const now = Math.floor((frame + 1) / (inspection.latent_steps + 1)) - 1;
  const points = inspection.readings.map((_, i) => at(i).map((v) => v.toFixed(1)).join(","));
  return (
    <g>
      <polyline points={points.join(" ")} className={classes.behind} style={{ stroke: color }} />
      {now >= 0 && <circle cx={at(now)[0]} cy={at(now)[1]} r={4.5} className={classes.now} style={{ fill: color }} />}
    </g>
  );
}

function inWords({ name, inspection }: Side): string {
  return `Halting value of ${name}: ${percent(halting(inspection.readings.at(-1)), 0)} at the end`;
}
