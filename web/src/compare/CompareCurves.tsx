import { SegmentedControl } from "@mantine/core";
import { useQueries } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import type { Group, Metrics } from "~/api/model";
import { metricQuery } from "~/api/queries";
import { ChartPanel } from "~/charts/ChartPanel";
import { LineChart } from "~/charts/LineChart";
import { smooth, type Line } from "~/charts/lines";
import { bytes, percent, seconds, value } from "~/ui/format";
import { Variant, variantColor } from "~/ui/variants";
import classes from "./Compare.module.css";

const charts: readonly { key: string; title: string; format: (value: number) => string; smoothing: number; range?: readonly [number, number] }[] = [
  { key: "train.loss", title: "Training loss", format: value, smoothing: 0.7 },
  { key: "train.exact_accuracy", title: "Exact accuracy, training", format: (v) => percent(v, 0), smoothing: 0.7, range: [0, 1.02] },
  { key: "test.exact_accuracy", title: "Exact accuracy, unseen", format: (v) => percent(v, 0), smoothing: 0, range: [0, 1.02] },
  { key: "memory.saved_bytes", title: "Saved activations", format: bytes, smoothing: 0 },
  { key: "time.step_s", title: "Step time", format: seconds, smoothing: 0.7 },
];
const KEYS = charts.map(({ key }) => key);

/** Every run's curves over each other, in their group's colour. */
export function CompareCurves({ groups }: { groups: readonly Group[] }) {
  const [isLog, setLog] = useState(false);
  const members = groups.flatMap((group) => group.members.map((member) => ({ member, group })));
  const metrics = useQueries({
    queries: members.map(({ member }) => metricQuery(member.run_id, KEYS)),
    combine: (results) => results.map((result) => result.data),
  });
  return (
    <section>
      <div className={classes.curvesHead}>
        <h2>Curves</h2>
        {groups.map((group) => (
          <Variant key={group.variant} store={group.store} />
        ))}
        <SegmentedControl
          size="xs"
          ml="auto"
          data={["Linear", "Log"]}
          value={isLog ? "Log" : "Linear"}
          onChange={(next) => setLog(next === "Log")}
          aria-label="Scale"
        />
      </div>
      <div className={classes.curves}>
        {charts.map((chart) => (
          <OneChart key={chart.key} chart={chart} members={members} metrics={metrics} isLog={isLog} />
        ))}
      </div>
    </section>
  );
}

interface ChartProps {
  chart: (typeof charts)[number];
  members: readonly { member: Group["members"][number]; group: Group }[];
  metrics: readonly (Metrics | undefined)[];
  isLog: boolean;
}

function OneChart({ chart, members, metrics, isLog }: ChartProps) {
  const lines = useMemo<Line[]>(
    () =>
      members.flatMap(({ member, group }, i) => {
        const series = metrics[i]?.series.find((s) => s.key === chart.key);
        if (!series?.steps.length) return [];
        const label = `${group.variant} · seed ${member.seed}`;
        return [{ label, color: variantColor(group.store), steps: series.steps, values: smooth(series.values, chart.smoothing), width: 1.4 }];
      }),
    [members, metrics, chart],
  );
  if (!lines.length) return null;
  return (
    <ChartPanel title={chart.title} lines={[]} now={chart.smoothing > 0 ? "smoothed" : undefined}>
      <LineChart
        lines={lines}
        label={`${chart.title} of ${lines.length} runs`}
        isLog={isLog && !chart.range}
        format={chart.format}
        isBytes={chart.format === bytes}
        range={chart.range}
        group="compare"
        testId={`chart-compare-${chart.key}`}
      />
    </ChartPanel>
  );
}
