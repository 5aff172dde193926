/** Scales and ticks of the small plots that are drawn as SVG. */

export interface Scale {
  at: (value: number) => number;
  ticks: readonly number[];
}

/** From values to pixels, with round ticks. ``isLog`` needs values above 0. */
export function scale(low: number, high: number, from: number, to: number, isLog = false, most = 5): Scale {
  const forward = isLog ? Math.log : (value: number) => value;
  const [a, b] = low < high ? [forward(low), forward(high)] : [forward(low) - 0.5, forward(low) + 0.5];
  const at = (value: number) => from + ((forward(value) - a) / (b - a)) * (to - from);
  return { at, ticks: isLog ? logTicks(low, high) : linearTicks(a, b, most) };
}

function linearTicks(low: number, high: number, most: number): number[] {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough) ?? rough;
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => (first + i) * step);
}

/** Powers of two: bytes are what is drawn on a logarithmic scale. */
function logTicks(low: number, high: number): number[] {
  const [first, last] = [Math.ceil(Math.log2(low)), Math.floor(Math.log2(high))];
  const step = Math.max(1, Math.ceil((last - first) / 4));
  return Array.from({ length: Math.max(0, Math.floor((last - first) / step) + 1) }, (_, i) => 2 ** (first + i * step));
}

/** The least and greatest of what is known, with a little room around. */
export function extent(values: readonly (number | null | undefined)[], room = 0.06): [number, number] {
  const known = values.filter((value): value is number => value !== null && value !== undefined);
  if (!known.length) return [0, 1];
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const around = (high - low || Math.abs(low) || 1) * room;
  return [low - around, high + around];
}
