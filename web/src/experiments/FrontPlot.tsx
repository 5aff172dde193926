import { useElementSize } from "@mantine/hooks";
import type { ExperimentGroup, Mean } from "~/api/model";
import { extent, scale } from "~/experiments/scale";
import { bytes, seconds } from "~/ui/format";
import { Panel } from "~/ui/Panel";
import { variantColor } from "~/ui/variants";
import classes from "./Experiments.module.css";

const [LEFT, RIGHT, TOP, BOTTOM, HEIGHT] = [46, 18, 22, 38, 270];

/** Accuracy against memory and against step time, every group with its intervals; what another group dominates is hollow. */
export function FrontPlot({ groups }: { groups: readonly ExperimentGroup[] }) {
  const known = groups.filter((group) => group.metric.mean !== null);
  if (!known.length) return null;
  const dominated = known.filter((group) => group.dominated_by.length > 0);
  return (
    <Panel
      title="Accuracy, memory, time"
      testId="front"
      aside={<span className="faint">means over seeds with 95 % intervals; up and left is better, hollow is dominated</span>}
    >
      <div className={classes.fronts}>
        <Scatter groups={known} axis={(group) => group.saved_bytes} format={bytes} name="activation bytes held" />
        <Scatter groups={known} axis={(group) => group.step_time_s} format={seconds} name="step time" />
      </div>
      {dominated.length > 0 && (
        <ul className={classes.dominated}>
          {dominated.map((group) => (
            <li key={group.name}>
              <b>{group.name}</b> is dominated by {group.dominated_by.join(", ")}
              {group.is_clearly_dominated ? "." : ", though within the intervals."}
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

interface ScatterProps {
  groups: readonly ExperimentGroup[];
  axis: (group: ExperimentGroup) => Mean;
  format: (value: number) => string;
  name: string;
}

function Scatter({ groups, axis, format, name }: ScatterProps) {
  const { ref, width } = useElementSize();
  const xs = groups.flatMap((group) => ends(axis(group)));
  const ys = groups.flatMap((group) => ends(group.metric));
  const isLog = name.includes("bytes") && Math.min(...xs) > 0 && Math.max(...xs) > 4 * Math.min(...xs);
  const [left, right] = isLog ? [Math.min(...xs) * 0.8, Math.max(...xs) * 1.25] : extent(xs, 0.12);
  const [low, high] = extent(ys, 0.12);
  const x = scale(left, right, LEFT, Math.max(LEFT + 1, width - RIGHT), isLog, 4);
  const y = scale(low, high, HEIGHT - BOTTOM, TOP);
  const apart = 100 * ((y.ticks[1] ?? 1) - (y.ticks[0] ?? 0));
  const digits = Math.max(0, Math.min(4, Math.ceil(-Math.log10(apart) - 1e-9)));
  return (
    <div ref={ref} className={classes.plot}>
      {width > 0 && (
        <svg width={width} height={HEIGHT} role="img" aria-label={`Accuracy against ${name} of ${groups.map((g) => g.name).join(", ")}`}>
          {y.ticks.map((tick) => (
            <g key={tick}>
              <line x1={LEFT} x2={width - RIGHT} y1={y.at(tick)} y2={y.at(tick)} className={classes.gridLine} />
              <text x={LEFT - 6} y={y.at(tick) + 4} textAnchor="end" className={classes.tick}>
                {(100 * tick).toFixed(digits)}
              </text>
            </g>
          ))}
          {x.ticks.map((tick) => (
            <text key={tick} x={x.at(tick)} y={HEIGHT - BOTTOM + 16} textAnchor="middle" className={classes.tick}>
              {tick === 0 ? "0" : format(tick)}
            </text>
          ))}
          <text x={0} y={12} className={classes.tick}>
            accuracy, %
          </text>
          <text x={width - RIGHT} y={HEIGHT - 6} textAnchor="end" className={classes.tick}>
            {name}
          </text>
          {groups.map((group) => {
            const across = axis(group);
            if (across.mean === null || group.metric.mean === null) return null;
            const [cx, cy] = [x.at(across.mean), y.at(group.metric.mean)];
            const isLeft = cx > width * 0.6;
            return (
              <g key={group.name} style={{ color: variantColor(group.store) }} data-dominated={group.dominated_by.length > 0 || undefined} className={classes.point}>
                <title>{`${group.name}: ${(100 * group.metric.mean).toFixed(2)} % at ${format(across.mean)}`}</title>
                {across.low !== null && across.high !== null && <line x1={x.at(Math.max(left, across.low))} x2={x.at(across.high)} y1={cy} y2={cy} />}
                {group.metric.low !== null && group.metric.high !== null && (
                  <line x1={cx} x2={cx} y1={y.at(group.metric.low)} y2={y.at(group.metric.high)} />
                )}
                <circle cx={cx} cy={cy} r={5.5} />
                <text x={cx + (isLeft ? -9 : 9)} y={cy - 8} textAnchor={isLeft ? "end" : "start"}>
                  {group.name.length > 26 ? `${group.name.slice(0, 25)}…` : group.name}
                </text>
              </g>
            );
          })}
        </svg>
      )}
    </div>
  );
}

function ends({ mean, low, high }: Mean): number[] {
  return [mean, low, high].filter((value): value is number => value !== null);
}
