import type { Inspection, Reading } from "~/api/model";
import classes from "./Player.module.css";

interface Props {
  inspection: Inspection;
  reading: Reading | undefined;
  label: string;
}

const CELL = 10;

/** The answer at hand: confidence as colour, what just changed and what breaks a rule marked. */
export function AnswerGrid({ inspection, reading, label }: Props) {
  const { size, question, kind } = inspection;
  const cells = reading?.cells ?? question;
  const [changed, broken] = [new Set(reading?.changed), new Set(reading?.violations)];
  const side = size * CELL;
  const said = reading ? `${broken.size} cells break a rule, ${changed.size} changed` : "the question";
  return (
    <svg className={classes.grid} viewBox={`-1 -1 ${side + 2} ${side + 2}`} role="img" aria-label={`${label}: ${said}`} data-testid="answer" data-cells={cells}>
      {[...cells].map((cell, i) => (
        <Cell
          key={i}
          x={(i % size) * CELL}
          y={Math.floor(i / size) * CELL}
          kind={kind}
          cell={cell}
          isGiven={kind === "sudoku" && question[i] !== "."}
          confidence={reading?.confidences[i]}
          isChanged={changed.has(i)}
          isBroken={broken.has(i)}
        />
      ))}
      {kind === "sudoku" && <Lines size={size} />}
      <rect x={0} y={0} width={side} height={side} className={classes.frame} />
    </svg>
  );
}

interface CellProps {
  x: number;
  y: number;
  kind: Inspection["kind"];
  cell: string;
  isGiven: boolean;
  confidence: number | undefined;
  isChanged: boolean;
  isBroken: boolean;
}

function Cell({ x, y, kind, cell, isGiven, confidence, isChanged, isBroken }: CellProps) {
  const sure = isGiven && !isBroken ? undefined : confidence;
  return (
    <g data-changed={isChanged || undefined} data-broken={isBroken || undefined} data-given={isGiven || undefined}>
      <rect x={x} y={y} width={CELL} height={CELL} className={classes.cell} style={sure === undefined ? undefined : { fill: confidenceColor(sure) }}>
        {confidence !== undefined && <title>{`confidence ${(100 * confidence).toFixed(1)} %`}</title>}
      </rect>
      {kind === "sudoku" ? <Digit x={x} y={y} cell={cell} /> : <Symbol x={x} y={y} kind={kind} cell={cell} />}
      {isChanged && <rect x={x + 0.7} y={y + 0.7} width={CELL - 1.4} height={CELL - 1.4} rx={1.2} className={classes.changed} />}
      {isBroken && <path d={`M${x + CELL - 3.6} ${y} h3.6 v3.6 z`} className={classes.broken} />}
    </g>
  );
}

/** From unsure to sure, in the colours that the subspace explorer uses for fidelity. */
export function confidenceColor(confidence: number): string {
  return `color-mix(in oklab, var(--heat-fidelity-high) ${(100 * confidence).toFixed(0)}%, var(--heat-fidelity-low))`;
}

function Digit({ x, y, cell }: { x: number; y: number; cell: string }) {
  if (cell === ".") return null;
  return (
    <text x={x + CELL / 2} y={y + CELL / 2 + 0.3} className={classes.digit}>
      {cell}
    </text>
  );
}

function Symbol({ x, y, kind, cell }: { x: number; y: number; kind: string; cell: string }) {
  if (kind === "arc") return /\d/.test(cell) ? <rect x={x + 1} y={y + 1} width={CELL - 2} height={CELL - 2} fill={ARC[Number(cell)]} /> : null;
  if (cell === "#") return <rect x={x + 0.5} y={y + 0.5} width={CELL - 1} height={CELL - 1} className={classes.wall} />;
  if (cell === "S" || cell === "G") return <Digit x={x} y={y} cell={cell} />;
  return cell === "o" ? <circle cx={x + CELL / 2} cy={y + CELL / 2} r={2} className={classes.step} /> : null;
}

// The ten colours that ARC's own pages use: black, blue, red, green, yellow, grey, pink, orange, light blue, brown.
const ARC = ["#111111", "#1e70d6", "#e5413a", "#35b64a", "#f2cf2f", "#9a9a9a", "#e0309b", "#f3832c", "#7ccbf2", "#85232f"];

function Lines({ size }: { size: number }) {
  const rows = Math.floor(Math.sqrt(size));
  const columns = size / rows;
  const inner = Array.from({ length: size - 1 }, (_, i) => i + 1);
  return inner.map((i) => (
    <g key={i}>
      <line x1={i * CELL} x2={i * CELL} y1={0} y2={size * CELL} className={i % columns ? classes.thin : classes.thick} />
      <line y1={i * CELL} y2={i * CELL} x1={0} x2={size * CELL} className={i % rows ? classes.thin : classes.thick} />
    </g>
  ));
}
