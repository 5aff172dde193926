import { useComputedColorScheme } from "@mantine/core";
import { useElementSize } from "@mantine/hooks";
import { useEffect, useLayoutEffect, useMemo, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { value as formatValue } from "~/ui/format";
import { useInView } from "~/ui/useInView";
import { columnsOf, type Line } from "~/charts/lines";
import { chartOptions } from "~/charts/options";
import classes from "./LineChart.module.css";

interface Props {
  lines: readonly Line[];
  label: string;
  height?: number;
  isLog?: boolean;
  format?: (value: number) => string;
  /** Ticks at round numbers of KiB, MiB … */
  isBytes?: boolean;
  range?: readonly [number, number] | undefined;
  /** Charts of one group share the cursor. */
  group?: string;
  /** The step that the cursor stands at where the pointer is elsewhere; told of the pointer's own. */
  at?: number | null;
  onCursor?: ((step: number | null) => void) | undefined;
  testId?: string;
}

/** Curves over training steps: drag to zoom, double-click to see all again. Drawn only while in sight. */
export function LineChart({ lines, label, height = 220, isLog = false, format = formatValue, isBytes = false, range, group, at, onCursor, testId }: Props) {
  const { ref: seenRef, isInView } = useInView<HTMLDivElement>();
  const { ref: measure, width } = useElementSize<HTMLDivElement>();
  const home = useRef<HTMLDivElement>(null);
  const tip = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const tell = useRef(onCursor);
  useEffect(() => {
    tell.current = onCursor;
  });
  const scheme = useComputedColorScheme("light");
  const columns = useMemo(() => columnsOf(lines, isLog), [lines, isLog]);
  const latest = useRef(columns);
  useEffect(() => {
    latest.current = columns;
  });
  // What the plot is built from; new points alone only replace its data.
  const look = JSON.stringify([lines.map(({ label: name, color, isFaint, isDashed }) => [name, color, isFaint, isDashed]), isLog, range, group, scheme]);
  const [from, to] = range ?? [undefined, undefined];

  useEffect(() => {
    const place = home.current;
    if (!place || !isInView || width === 0) return undefined;
    const fixed = from === undefined || to === undefined ? undefined : ([from, to] as const);
    const options = chartOptions({ lines, width, height, isLog, isBytes, format, range: fixed, group, place, tip: () => tip.current });
    const made = new uPlot(options, latest.current, place);
    plot.current = made;
    const hovered = () => tell.current?.(stepUnder(made));
    made.over.addEventListener("pointermove", hovered);
    made.over.addEventListener("pointerleave", () => tell.current?.(null));
    return () => {
      made.destroy();
      plot.current = null;
    };
    // `look` stands for `lines`; `format` never changes the plot's build.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [look, isInView, width === 0, height, from, to]);

  useLayoutEffect(() => {
    plot.current?.setSize({ width, height });
  }, [width, height]);
  useEffect(() => {
    const made = plot.current;
    if (!made) return;
    const isZoomed = isZoomedIn(made);
    made.setData(columns, !isZoomed);
    if (isZoomed) made.redraw();
  }, [columns]);

  useEffect(() => {
    const made = plot.current;
    if (!made || at === undefined || made.over.matches(":hover")) return;
    made.setCursor(at === null ? { left: -10, top: -10 } : { left: made.valToPos(at, "x"), top: -10 }, false);
  }, [at]);

  return (
    <div ref={seenRef} className={classes.chart} role="img" aria-label={label} data-testid={testId} data-points={columns[0].length}>
      <div ref={measure} className={classes.place} style={{ height }}>
        <div ref={home} />
      </div>
      <div ref={tip} className={classes.tip} hidden />
    </div>
  );
}

function stepUnder(plot: uPlot): number | null {
  const { idx } = plot.cursor;
  return idx === null || idx === undefined ? null : (plot.data[0][idx] ?? null);
}

function isZoomedIn(plot: uPlot): boolean {
  const steps = plot.data[0];
  const { min, max } = plot.scales.x ?? {};
  const [first, last] = [steps[0], steps[steps.length - 1]];
  if (first === undefined || last === undefined || typeof min !== "number" || typeof max !== "number") return false;
  return min > first || max < last;
}
