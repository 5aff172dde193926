/** The heat-map's drawing: one row per site, one cell per update of its basis, marks where the basis was changed. */
import type { SiteTrace } from "~/api/model";
import { resolveColor } from "~/charts/options";

export type Measure = "rank" | "fidelity";
export type Mark = "reset" | "fallback" | "grow" | "shrink";

export const MARKS: readonly { mark: Mark; label: string; color: string; help: string }[] = [
  { mark: "reset", label: "reset", color: "var(--bad)", help: "Fidelity stayed low: the basis was computed anew by SVD" },
  { mark: "grow", label: "grow", color: "var(--warn)", help: "Fidelity fell below its threshold: the rank rose" },
  { mark: "shrink", label: "shrink", color: "var(--good)", help: "Fidelity allowed a smaller rank" },
  { mark: "fallback", label: "stored in full", color: "var(--text-muted)", help: "The rank passed break-even: the site keeps its activations whole" },
];

export const ROW = 26;
export const AXIS = 24;

export interface Layout {
  width: number;
  labelWidth: number;
  first: number;
  last: number;
}

export const heightOf = (sites: readonly SiteTrace[]) => sites.length * ROW + AXIS;

export function layoutOf(sites: readonly SiteTrace[], width: number, lastStep: number): Layout {
  const longest = Math.max(0, ...sites.map((s) => s.site.length));
  const steps = sites.flatMap((s) => [s.steps[0] ?? 0, s.steps.at(-1) ?? 0]);
  const first = Math.min(...steps);
  return { width, labelWidth: Math.min(width * 0.34, longest * 6.7 + 14), first, last: Math.max(first + 1, lastStep, ...steps) };
}

export function xOf(layout: Layout, step: number): number {
  return layout.labelWidth + ((step - layout.first) / (layout.last - layout.first)) * (layout.width - layout.labelWidth - 8);
}

export function stepAt(layout: Layout, x: number): number {
  return layout.first + ((x - layout.labelWidth) / (layout.width - layout.labelWidth - 8)) * (layout.last - layout.first);
}

/** The update in force at a step: the last one not after it; -1 before the first. */
export function updateAt(site: SiteTrace, step: number): number {
  let [low, high] = [0, site.steps.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((site.steps[middle] ?? 0) <= step) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

export function valueOf(site: SiteTrace, update: number, measure: Measure): number | null {
  const rank = site.ranks[update];
  if (measure === "rank") return rank === undefined ? null : rank / site.width;
  return site.fidelities[update] ?? null;
}

/** Least and greatest value, so that the colours use their whole range; a floor keeps noise from looking like news. */
export function domainOf(sites: readonly SiteTrace[], measure: Measure): [number, number] {
  if (measure === "rank") return [0, 1];
  let least = 1;
  for (const site of sites) for (const f of site.fidelities) if (f !== null && f < least) least = f;
  return [Math.min(0.99, Math.floor(least * 100) / 100), 1];
}

/** From quiet to strong in the scheme at hand. */
export function colorScale(place: HTMLElement, measure: Measure): (share: number) => string {
  const [from, to] = [`var(--heat-${measure}-low)`, `var(--heat-${measure}-high)`].map((c) => rgb(resolveColor(place, c)));
  return (share) => {
    const t = Math.max(0, Math.min(1, share));
    const part = (i: number) => Math.round((from?.[i] ?? 0) + t * ((to?.[i] ?? 0) - (from?.[i] ?? 0)));
    return `rgb(${part(0)},${part(1)},${part(2)})`;
  };
}

function rgb(color: string): number[] {
  return (color.match(/[\d.]+/g) ?? []).slice(0, 3).map(Number);
}

export interface Drawing {
  sites: readonly SiteTrace[];
  layout: Layout;
  measure: Measure;
  marks: ReadonlySet<Mark>;
  selected: string | null;
}

export function draw(canvas: HTMLCanvasElement, drawing: Drawing): void {
  const context = canvas.getContext("2d");
  const place = canvas.parentElement;
  if (!context || !place) return;
  const { sites, layout } = drawing;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = layout.width * ratio;
  canvas.height = heightOf(sites) * ratio;
  context.scale(ratio, ratio);
  context.clearRect(0, 0, layout.width, heightOf(sites));
  const scale = colorScale(place, drawing.measure);
  const domain = domainOf(sites, drawing.measure);
  sites.forEach((site, row) => drawRow(context, site, row, drawing, (v) => scale((v - domain[0]) / (domain[1] - domain[0]))));
  drawLabels(context, place, drawing);
  sites.forEach((site, row) => drawMarks(context, place, site, row, drawing));
  drawAxis(context, place, drawing);
}

function drawRow(context: CanvasRenderingContext2D, site: SiteTrace, row: number, { layout, measure }: Drawing, color: (v: number) => string): void {
  for (let i = 0; i < site.steps.length; i += 1) {
    const value = valueOf(site, i, measure);
    if (value === null) continue;
    // On whole pixels: half covered ones would show as seams.
    const from = Math.round(xOf(layout, site.steps[i] ?? 0));
    const to = Math.round(xOf(layout, site.steps[i + 1] ?? layout.last));
    context.fillStyle = color(value);
    context.fillRect(from, row * ROW + 1, Math.max(1, to - from), ROW - 2);
  }
}

function drawLabels(context: CanvasRenderingContext2D, place: HTMLElement, { sites, layout, selected }: Drawing): void {
  const [ink, strong] = [resolveColor(place, "var(--text-muted)"), resolveColor(place, "var(--accent)")];
  context.textBaseline = "middle";
  sites.forEach(({ site }, row) => {
    context.font = `${site === selected ? "600 " : ""}11px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace`;
    context.fillStyle = site === selected ? strong : ink;
    context.fillText(site, 0, row * ROW + ROW / 2 + 0.5, layout.labelWidth - 8);
  });
}

function drawMarks(context: CanvasRenderingContext2D, place: HTMLElement, site: SiteTrace, row: number, drawing: Drawing): void {
  const middle = row * ROW + ROW / 2;
  for (const { mark, color } of MARKS) {
    if (!drawing.marks.has(mark)) continue;
    context.fillStyle = resolveColor(place, color);
    context.strokeStyle = resolveColor(place, "var(--surface)");
    context.lineWidth = 1.5;
    site.events.forEach((event, i) => {
      if (event === mark) markShape(context, mark, xOf(drawing.layout, site.steps[i] ?? 0), middle);
    });
  }
}

const shapes: Record<Mark, readonly (readonly [number, number])[]> = {
  reset: [[0, -6], [6, 0], [0, 6], [-6, 0]],
  grow: [[0, -5], [4.5, 3.5], [-4.5, 3.5]],
  shrink: [[0, 5], [4.5, -3.5], [-4.5, -3.5]],
  fallback: [[-4, -4], [4, -4], [4, 4], [-4, 4]],
};

export function markShape(context: CanvasRenderingContext2D, mark: Mark, x: number, y: number): void {
  context.beginPath();
  shapes[mark].forEach(([dx, dy], i) => (i ? context.lineTo(x + dx, y + dy) : context.moveTo(x + dx, y + dy)));
  context.closePath();
  context.stroke();
  context.fill();
}

export function shapePoints(mark: Mark): string {
  return shapes[mark].map(([x, y]) => `${x + 7},${y + 7}`).join(" ");
}

function drawAxis(context: CanvasRenderingContext2D, place: HTMLElement, { sites, layout }: Drawing): void {
  context.font = "11px system-ui, sans-serif";
  context.fillStyle = resolveColor(place, "var(--text-faint)");
  const y = sites.length * ROW + 14;
  for (const tick of ticks(layout.first, layout.last, Math.max(2, Math.floor((layout.width - layout.labelWidth) / 110)))) {
    const text = tick.toLocaleString("en-US");
    const half = context.measureText(text).width / 2;
    context.fillText(text, Math.min(layout.width - 2 * half, Math.max(layout.labelWidth, xOf(layout, tick) - half)), y);
  }
}

/** Round numbers, about ``count`` of them. */
function ticks(first: number, last: number, count: number): number[] {
  const rough = (last - first) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(1, ([1, 2, 5, 10].find((m) => m * power >= rough) ?? 10) * power);
  const found: number[] = [];
  for (let tick = Math.ceil(first / step) * step; tick <= last; tick += step) found.push(tick);
  return found;
}
