/** How every line chart looks and answers the pointer. */
import uPlot from "uplot";
import type { Line } from "~/charts/lines";
import { count, value } from "~/ui/format";

interface Look {
  lines: readonly Line[];
  width: number;
  height: number;
  isLog: boolean;
  isBytes: boolean;
  format: (value: number) => string;
  range: readonly [number, number] | undefined;
  group: string | undefined;
  place: HTMLElement;
  tip: () => HTMLElement | null;
}

export function chartOptions(look: Look): uPlot.Options {
  const { lines, width, height, isLog, isBytes, format, range, group, place } = look;
  const ink = (color: string) => resolveColor(place, color);
  const axis = { stroke: ink("var(--text-faint)"), font: "11px system-ui, sans-serif", ticks: { show: false } };
  const grid = { stroke: ink("var(--line)"), width: 1 };
  const y: uPlot.Scale = isLog ? { distr: 3 } : range ? { range: [range[0], range[1]] } : { range: isBytes ? fromZero : padded };
  return {
    width,
    height,
    padding: [10, 20, 0, 0],
    legend: { show: false },
    scales: { x: { time: false }, y },
    cursor: {
      ...(group ? { sync: { key: group } } : {}),
      y: false,
      drag: { x: true, y: false, setScale: true },
      points: { size: 6 },
    },
    axes: [
      { ...axis, grid: { show: false }, values: (_, ticks) => ticks.map((tick) => short(tick)), size: 26, gap: 6, space: 60 },
      { ...axis, grid, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : format === value ? plain(tick) : format(tick))), size: axisWidth, gap: 6, space: 34, ...(isBytes && !isLog ? { incrs: BINARY } : {}) },
    ],
    series: [{}, ...lines.map((line) => seriesOf(line, ink))],
    hooks: { setCursor: [(plot) => showTip(plot, look)] },
  };
}

// 1, 2 and 5 … times powers of two, so that axes read 10 MiB and not 9.54 MiB.
const BINARY = [0, 10, 20, 30, 40].flatMap((power) => [1, 2, 5, 10, 20, 50, 100, 200, 500].map((step) => step * 2 ** power));

function seriesOf(line: Line, ink: (color: string) => string): uPlot.Series {
  return {
    label: line.label,
    stroke: ink(line.color),
    width: line.width ?? 1.75,
    alpha: line.isFaint ? 0.22 : 1,
    spanGaps: true,
    points: { show: (plot, index) => !line.isFaint && isSparse(plot.data[index] ?? []), size: 5, fill: ink(line.color) },
    ...(line.isDashed ? { dash: [5, 4] } : {}),
  };
}

/** So few points that a line alone would hide where they are. */
function isSparse(column: ArrayLike<number | null | undefined>): boolean {
  let points = 0;
  for (let i = 0; i < column.length && points < 12; i += 1) if (typeof column[i] === "number") points += 1;
  return points < 12;
}

/** A little air above and below; a flat line gets a range of its own. */
function padded(_: uPlot, min: number | null, max: number | null): uPlot.Range.MinMax {
  if (min === null || max === null) return [0, 1];
  if (min === max) return min === 0 ? [-0.5, 1] : [min - Math.abs(min) * 0.2, max + Math.abs(max) * 0.2];
  const air = (max - min) * 0.06;
  return [min >= 0 && min < (max - min) * 0.25 ? 0 : min - air, max + air];
}

function fromZero(_: uPlot, __: number | null, max: number | null): uPlot.Range.MinMax {
  return [0, max ? max * 1.06 : 1];
}

/** Ticks are round: no need for the digits that measured values show. */
function plain(tick: number): string {
  return tick !== 0 && Math.abs(tick) < 1e-3 ? String(Number(tick.toPrecision(3)).toExponential()) : String(Number(tick.toPrecision(6)));
}

function axisWidth(_: uPlot, values: string[] | null): number {
  return Math.max(34, 12 + 6.3 * Math.max(0, ...(values ?? []).map((text) => text?.length ?? 0)));
}

function short(step: number): string {
  return step >= 1e6 ? `${step / 1e6} M` : step >= 1e4 ? `${step / 1e3} k` : count(step);
}

/** Canvas knows no CSS variables: ask the browser what one stands for here. */
export function resolveColor(place: HTMLElement, color: string): string {
  if (!color.startsWith("var(")) return color;
  const probe = document.createElement("span");
  probe.style.color = color;
  place.appendChild(probe);
  const resolved = getComputedStyle(probe).color;
  probe.remove();
  return resolved;
}

const MOST_ROWS = 10;

function showTip(plot: uPlot, { lines, format, tip }: Look): void {
  const box = tip();
  const { idx, left, top } = plot.cursor;
  if (!box) return;
  const step = idx === null || idx === undefined ? undefined : plot.data[0][idx];
  // Charts of a group share the cursor's line; the words belong to the one under the pointer.
  if (step === undefined || left === undefined || left < 0 || !plot.over.matches(":hover")) {
    box.hidden = true;
    return;
  }
  const rows = lines
    .map((line, i) => ({ line, value: nearest(plot, i + 1, idx ?? 0) }))
    .filter(({ line, value }) => !line.isQuiet && value !== null);
  box.replaceChildren(tipHead(`step ${count(step)}`), ...rows.slice(0, MOST_ROWS).map(({ line, value }) => tipRow(line, format(value ?? 0))));
  if (rows.length > MOST_ROWS) box.append(tipHead(`and ${rows.length - MOST_ROWS} more`));
  box.hidden = rows.length === 0;
  placeTip(plot, box, left, top ?? 0);
}

/** The line's value at or shortly before a position: other lines may own the step itself. */
function nearest(plot: uPlot, series: number, index: number): number | null {
  const column = plot.data[series];
  for (let i = index; i >= Math.max(0, index - 20); i -= 1) {
    const value = column?.[i];
    if (value !== null && value !== undefined) return value;
  }
  return null;
}

function placeTip(plot: uPlot, box: HTMLElement, left: number, top: number): void {
  const x = plot.over.offsetLeft + left;
  const isRight = x + box.offsetWidth + 24 > plot.width;
  const wanted = isRight ? x - box.offsetWidth - 14 : x + 14;
  const y = Math.max(0, Math.min(top < 0 ? 8 : top - 10, plot.height - box.offsetHeight));
  box.style.transform = `translate(${Math.max(0, wanted)}px, ${y}px)`;
}

function tipHead(text: string): HTMLElement {
  const head = document.createElement("div");
  head.className = "tip-head";
  head.textContent = text;
  return head;
}

function tipRow(line: Line, value: string): HTMLElement {
  const row = document.createElement("div");
  row.className = "tip-row";
  const swatch = document.createElement("i");
  swatch.style.background = line.color;
  const name = document.createElement("span");
  name.textContent = line.label;
  const number = document.createElement("b");
  number.textContent = value;
  row.append(swatch, name, number);
  return row;
}
