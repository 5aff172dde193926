import { Skeleton, Slider, Switch } from "@mantine/core";
import { useLocalStorage } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import type { Run, Series } from "~/api/model";
import { isLive, metricsQuery } from "~/api/queries";
import { ChartPanel } from "~/charts/ChartPanel";
import { LineChart } from "~/charts/LineChart";
import { withSmoothing, type Line } from "~/charts/lines";
import { isMeasuredOnce, plans, planRest, type ChartPlan } from "~/run/chartPlans";
import { Empty, Failure } from "~/ui/Empty";
import classes from "./ChartsTab.module.css";

interface Options {
  smoothing: number;
  isLog: boolean;
}

export function ChartsTab({ run }: { run: Run }) {
  const metrics = useQuery(metricsQuery(run.id));
  const [options, setOptions] = useLocalStorage<Options>({ key: "chart-options", defaultValue: { smoothing: 0.6, isLog: false } });
  if (metrics.isPending) return <Skeleton height={300} radius="lg" />;
  if (metrics.isError) return <Failure error={metrics.error} retry={() => void metrics.refetch()} />;
  const { series } = metrics.data;
  if (!series.some((s) => s.steps.length)) return <NoCurves run={run} />;
  const shown = [...plans, ...planRest(series)].filter((plan) => plan.keys.some(({ key }) => find(series, key)?.steps.length));
  return (
    <>
      <div className={classes.controls}>
        <label className={classes.smoothing}>
          <span id="smoothing-label">Smoothing</span>
          <Slider
            w={150}
            size="sm"
            min={0}
            max={0.99}
            step={0.01}
            label={null}
            thumbProps={{ "aria-labelledby": "smoothing-label" }}
            value={options.smoothing}
            onChange={(smoothing) => setOptions({ ...options, smoothing })}
            data-testid="smoothing"
          />
          <span className="num faint">{options.smoothing.toFixed(2)}</span>
        </label>
        <Switch
          size="xs"
          label="Log scale"
          checked={options.isLog}
          onChange={(event) => setOptions({ ...options, isLog: event.currentTarget.checked })}
          data-testid="log-scale"
        />
        <span className={classes.hint}>Drag to zoom, double-click to see all</span>
      </div>
      <div className={classes.grid}>
        {shown.map((plan) => (
          <PlannedChart key={plan.title} plan={plan} series={series} options={options} />
        ))}
      </div>
    </>
  );
}

const find = (series: readonly Series[], key: string) => series.find((s) => s.key === key);

function PlannedChart({ plan, series, options }: { plan: ChartPlan; series: readonly Series[]; options: Options }) {
  const held = plan.keys.map(({ key }) => find(series, key));
  const isLog = options.isLog && !plan.range;
  const strength = plan.isExact ? 0 : options.smoothing;
  const lines = useMemo(
    () => plan.keys.flatMap((part) => lineOf(part, find(series, part.key), strength)),
    [plan, strength, series],
  );
  const last = held.map((s) => s?.values.findLast((value) => value !== null)).find((value) => value !== undefined);
  return (
    <ChartPanel title={plan.title} lines={lines} now={typeof last === "number" ? plan.format(last) : undefined}>
      <LineChart
        lines={lines}
        label={`${plan.title} over training steps`}
        isLog={isLog}
        format={plan.format}
        isBytes={plan.isBytes ?? false}
        range={plan.range}
        group="run"
        testId={`chart-${plan.id}`}
      />
    </ChartPanel>
  );
}

function lineOf(part: ChartPlan["keys"][number], series: Series | undefined, strength: number): Line[] {
  if (!series?.steps.length) return [];
  const { label, color, isDashed = false } = part;
  const line = { label, color, isDashed, steps: series.steps, values: series.values };
  return isDashed || isMeasuredOnce(series.key) ? [line] : withSmoothing(line, strength);
}

function NoCurves({ run }: { run: Run }) {
  return (
    <Empty icon="runs" title={isLive(run) ? "No point yet" : "This run measured nothing"} compact testId="no-curves">
      {isLive(run)
        ? "Curves appear here by themselves, as soon as the first metrics arrive."
        : run.kind !== "train"
          ? "This kind of run has a result; its figures stand above."
          : "It ended before its first metrics. Its logs may say why."}
    </Empty>
  );
}
