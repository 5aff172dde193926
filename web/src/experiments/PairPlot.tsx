import { useElementSize } from "@mantine/hooks";
import type { Judgement } from "~/api/model";
import { extent, scale } from "~/experiments/scale";
import classes from "./Experiments.module.css";

const LEFT = 58;
const RIGHT = 16;
const AXIS = 38;

/** One dot per pair of equal seed, at variant less baseline; the mean with its 95 % interval below, the margin as a band. */
export function PairPlot({ judged }: { judged: Judgement }) {
  const { ref, width } = useElementSize();
  const { differences, paired_t: t, mean, margin } = judged;
  const row = Math.max(3, Math.min(20, 420 / Math.max(1, differences.length)));
  const bottom = 10 + differences.length * row;
  const height = bottom + 34 + AXIS;
  const [low, high] = extent([...differences.map((pair) => pair.difference), ...(t.ci95 ?? []), -margin * 1.15, margin * 1.15]);
  const x = scale(low, high, LEFT, Math.max(LEFT + 1, width - RIGHT));
  const meanAt = bottom + 18;
  return (
    <div ref={ref} className={classes.plot}>
      {width > 0 && (
        <svg width={width} height={height} role="img" aria-label={described(judged)} data-testid="pair-plot">
          <rect x={x.at(-margin)} width={x.at(margin) - x.at(-margin)} y={4} height={bottom + 26} className={classes.band} />
          <line x1={x.at(0)} x2={x.at(0)} y1={4} y2={bottom + 30} className={classes.zero} />
          {x.ticks.map((tick) => (
            <text key={tick} x={x.at(tick)} y={bottom + 48} textAnchor="middle" className={classes.tick}>
              {tick === 0 ? "0" : signed(tick, tick % 1 ? 1 : 0)}
            </text>
          ))}
          <text x={width - RIGHT} y={height - 6} textAnchor="end" className={classes.tick}>
            percentage points, variant less baseline
          </text>
          {differences.map((pair, i) => (
            <g key={pair.seed}>
              {row >= 12 && (
                <text x={0} y={14 + i * row} className={classes.tick}>
                  seed {pair.seed}
                </text>
              )}
              <line x1={x.at(0)} x2={x.at(pair.difference)} y1={10 + i * row} y2={10 + i * row} className={classes.stem} />
              <circle cx={x.at(pair.difference)} cy={10 + i * row} r={Math.min(4.5, row / 2)} className={classes.dot}>
                <title>{`seed ${pair.seed}: ${pair.baseline.toFixed(2)} % and ${pair.variant.toFixed(2)} %, ${signed(pair.difference)}`}</title>
              </circle>
            </g>
          ))}
          {mean !== null && (
            <g>
              <text x={0} y={meanAt + 4} className={classes.tick} fontWeight={600}>
                mean
              </text>
              {t.ci95 && <Whisker from={x.at(t.ci95[0] ?? mean)} to={x.at(t.ci95[1] ?? mean)} at={meanAt} />}
              <path d={`M${x.at(mean)} ${meanAt - 6}l6 6-6 6-6-6z`} className={classes.mean} />
            </g>
          )}
        </svg>
      )}
    </div>
  );
}

function Whisker({ from, to, at }: { from: number; to: number; at: number }) {
  return <path d={`M${from} ${at - 5}v10M${from} ${at}H${to}M${to} ${at - 5}v10`} className={classes.whisker} />;
}

export function signed(value: number, digits = 2): string {
  const text = Math.abs(value).toFixed(digits);
  return `${Number(text) === 0 ? "±" : value > 0 ? "+" : "−"}${text}`;
}

function described({ variant, baseline, pairs, mean, paired_t: t, margin }: Judgement): string {
  const interval = t.ci95 ? `, 95 % interval ${signed(t.ci95[0] ?? 0)} to ${signed(t.ci95[1] ?? 0)}` : "";
  return `${pairs} differences of ${variant} and ${baseline}: mean ${mean === null ? "not known" : signed(mean)}${interval}; margin ${margin}`;
}
