/** Curves as plain columns: smoothing, and one common step axis as uPlot wants it. */
import type { AlignedData } from "uplot";

export interface Line {
  label: string;
  /** A CSS colour; `var(--…)` is resolved when drawn. */
  color: string;
  steps: readonly number[];
  values: readonly (number | null)[];
  isFaint?: boolean;
  isDashed?: boolean;
  /** Left out of the tooltip. */
  isQuiet?: boolean;
  width?: number;
}

/** Exponential moving average with the start's bias taken out; ``strength`` 0 … <1. Gaps stay gaps. */
export function smooth(values: readonly (number | null)[], strength: number): (number | null)[] {
  let average = 0;
  let weight = 0;
  return values.map((value) => {
    if (value === null) return null;
    average = strength * average + (1 - strength) * value;
    weight = strength * weight + (1 - strength);
    return average / weight;
  });
}

/** The raw curve faint behind its smoothed one. */
export function withSmoothing(line: Line, strength: number): Line[] {
  if (strength === 0 || line.steps.length < 3) return [line];
  return [{ ...line, isFaint: true, isQuiet: true }, { ...line, values: smooth(line.values, strength) }];
}

/** The union of all steps, each line on it (undefined where it has no point, so that lines run on across). */
export function columnsOf(lines: readonly Line[], isLog: boolean): AlignedData {
  const steps = [...new Set(lines.flatMap((line) => line.steps))].sort((a, b) => a - b);
  const place = new Map(steps.map((step, index) => [step, index]));
  const columns = lines.map((line) => {
    const column = new Array<number | null | undefined>(steps.length);
    line.steps.forEach((step, i) => {
      const value = line.values[i] ?? null;
      // A logarithm has no place for zero and below.
      column[place.get(step) ?? 0] = isLog && value !== null && value <= 0 ? null : value;
    });
    return column;
  });
  return [steps, ...columns];
}
