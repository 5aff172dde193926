import { Button, SegmentedControl, Skeleton } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import type { Run, SiteTrace } from "~/api/model";
import { isLive, metricsQuery, spectrumQuery, tracesQuery } from "~/api/queries";
import { domainOf, MARKS, shapePoints, updateAt, type Mark, type Measure } from "~/charts/heat";
import { HeatMap } from "~/charts/HeatMap";
import { LineChart } from "~/charts/LineChart";
import { withSmoothing, type Line } from "~/charts/lines";
import { Profile, Scree } from "~/charts/Scree";
import { SubspaceClaims } from "~/run/SubspaceClaims";
import { Empty, Failure } from "~/ui/Empty";
import { bytes, percent, value } from "~/ui/format";
import { Panel } from "~/ui/Panel";
import classes from "./SubspaceTab.module.css";

interface Picked {
  site: string;
  step: number;
}

export default function SubspaceTab({ run }: { run: Run }) {
  const traces = useQuery(tracesQuery(run.id));
  const [measure, setMeasure] = useState<Measure>("rank");
  const [hidden, setHidden] = useState<ReadonlySet<Mark>>(new Set());
  const [picked, setPicked] = useState<Picked | null>(null);
  const [cursor, setCursor] = useState<number | null>(null);
  const marks = useMemo(() => new Set(MARKS.map(({ mark }) => mark).filter((mark) => !hidden.has(mark))), [hidden]);
  if (traces.isPending) return <Skeleton height={300} radius="lg" />;
  if (traces.isError) return <Failure error={traces.error} retry={() => void traces.refetch()} />;
  const sites = traces.data.sites.filter((site) => site.steps.length > 0).sort((a, b) => inOrder(a.site, b.site));
  if (!sites.length) return <NoTrace run={run} />;
  const selected = picked?.site ?? null;
  const select = (site: string | null, step?: number) => setPicked(site === null || step === undefined ? null : { site, step });
  const linked = { at: cursor, onCursor: setCursor };
  return (
    <div className={classes.page}>
      <Summary sites={sites} />
      <Panel
        title="Subspace over training"
        aside={
          <SegmentedControl
            size="xs"
            value={measure}
            onChange={(next) => setMeasure(next as Measure)}
            data={[
              { value: "rank", label: "Rank / width" },
              { value: "fidelity", label: "Fidelity" },
            ]}
            aria-label="What the colours show"
            data-testid="heatmap-measure"
          />
        }
      >
        <div className={classes.legend}>
          <Scale sites={sites} measure={measure} />
          <MarkToggles sites={sites} hidden={hidden} setHidden={setHidden} />
        </div>
        <HeatMap sites={sites} measure={measure} marks={marks} lastStep={run.step} selected={selected} select={select} {...linked} />
        <p className={classes.hint}>Click a cell, or press Enter on it, for its spectrum and its recursion steps.</p>
      </Panel>
      {picked && <PickedCell run={run} picked={picked} clear={() => setPicked(null)} />}
      <div className={classes.grid}>
        <SiteLines title="Rank per site" measure="rank" sites={sites} selected={selected} linked={linked} />
        <SiteLines title="Fidelity per site" measure="fidelity" sites={sites} selected={selected} linked={linked} />
        <SiteLines title="Turn per update: sine of the largest principal angle" measure="drift" sites={sites} selected={selected} linked={linked} />
        <LossLine run={run} linked={linked} />
        <MemoryLine sites={sites} linked={linked} />
      </div>
      <SubspaceClaims run={run} />
    </div>
  );
}

// As a block computes them, which the alphabet doesn't know.
const PARTS = ["qkv", "o", "gate_up", "down", "h", "h1", "h2"];

function inOrder(a: string, b: string): number {
  const place = (site: string) => PARTS.indexOf(site.split(".").at(-1) ?? "");
  const layer = (site: string) => site.split(".").slice(0, -1).join(".");
  return layer(a).localeCompare(layer(b), undefined, { numeric: true }) || place(a) - place(b) || a.localeCompare(b);
}

function Summary({ sites }: { sites: readonly SiteTrace[] }) {
  const last = sites.map((site) => (site.ranks.at(-1) ?? 0) / site.width);
  const counts = (event: string) => sites.reduce((sum, site) => sum + site.events.filter((e) => e === event).length, 0);
  const lowest = sites[last.indexOf(Math.min(...last))];
  const highest = sites[last.indexOf(Math.max(...last))];
  const mean = last.reduce((a, b) => a + b, 0) / last.length;
  return (
    <p className={`${classes.summary} num`} data-testid="subspace-summary">
      {sites.length} sites are tracked. Their bases now hold {percent(mean, 0)} of the width on average, from{" "}
      {percent(Math.min(...last), 0)} (<span className="mono">{lowest?.site}</span>) to {percent(Math.max(...last), 0)} (
      <span className="mono">{highest?.site}</span>). So far: {counts("grow")} × grown, {counts("shrink")} × shrunk,{" "}
      {counts("reset")} × reset, {counts("fallback")} × stored in full.
    </p>
  );
}

function Scale({ sites, measure }: { sites: readonly SiteTrace[]; measure: Measure }) {
  const [low, high] = domainOf(sites, measure);
  const show = (v: number) => (measure === "rank" ? percent(v, 0) : v.toFixed(2));
  return (
    <span className={`${classes.scale} num`}>
      {show(low)}
      <i style={{ background: `linear-gradient(to right, var(--heat-${measure}-low), var(--heat-${measure}-high))` }} aria-hidden />
      {show(high)}
    </span>
  );
}

interface TogglesProps {
  sites: readonly SiteTrace[];
  hidden: ReadonlySet<Mark>;
  setHidden: (hidden: ReadonlySet<Mark>) => void;
}

function MarkToggles({ sites, hidden, setHidden }: TogglesProps) {
  const seen = new Set(sites.flatMap((site) => site.events));
  const flip = (mark: Mark) => {
    const next = new Set(hidden);
    if (!next.delete(mark)) next.add(mark);
    setHidden(next);
  };
  return MARKS.filter(({ mark }) => seen.has(mark)).map(({ mark, label, color, help }) => (
    <button key={mark} type="button" data-testid={`mark-${mark}`} className={classes.mark} aria-pressed={!hidden.has(mark)} title={help} onClick={() => flip(mark)}>
      <svg width={14} height={14} aria-hidden>
        <polygon points={shapePoints(mark)} fill={color} />
      </svg>
      {label}
    </button>
  ));
}

const hues = ["#5f57d0", "#0b8f84", "#c77700", "#c2447f", "#3f83d9", "#7a9a1f", "#9a5bd0", "#d1603d", "#4c9a6a", "#8a8f98"];

interface Linked {
  at: number | null;
  onCursor: (step: number | null) => void;
}

interface SiteLinesProps {
  title: string;
  measure: Measure | "drift";
  sites: readonly SiteTrace[];
  selected: string | null;
  linked: Linked;
}

function SiteLines({ title, measure, sites, selected, linked }: SiteLinesProps) {
  const lines = useMemo<Line[]>(
    () =>
      sites.map((site, i) => ({
        label: site.site,
        color: hues[i % hues.length] ?? "#8a8f98",
        steps: site.steps,
        values: { rank: site.ranks, fidelity: site.fidelities, drift: site.drifts }[measure],
        isFaint: selected !== null && site.site !== selected,
        isQuiet: selected !== null && site.site !== selected,
        isDashed: i >= hues.length,
      })),
    [sites, measure, selected],
  );
  return (
    <Panel title={title}>
      <LineChart
        lines={lines}
        label={title}
        height={240}
        format={measure === "rank" ? (v) => String(Math.round(v)) : value}
        group="subspace"
        testId={`chart-site-${measure}`}
        {...linked}
      />
    </Panel>
  );
}

function LossLine({ run, linked }: { run: Run; linked: Linked }) {
  const { data: metrics } = useQuery(metricsQuery(run.id));
  const loss = metrics?.series.find(({ key }) => key === "train.loss");
  const lines = useMemo<Line[]>(() => (loss ? withSmoothing({ label: "loss", color: "var(--accent)", steps: loss.steps, values: loss.values }, 0.6) : []), [loss]);
  return (
    <Panel title="Loss">
      <LineChart lines={lines} label="Loss over training steps" height={240} group="subspace" testId="chart-subspace-loss" {...linked} />
    </Panel>
  );
}

function MemoryLine({ sites, linked }: { sites: readonly SiteTrace[]; linked: Linked }) {
  const lines = useMemo<Line[]>(() => [{ label: "tracked sites", color: "var(--accent)", ...heldBytes(sites) }], [sites]);
  return (
    <Panel title="Held by tracked sites">
      <LineChart lines={lines} label="Bytes held for backward by tracked sites" height={240} format={bytes} isBytes group="subspace" testId="chart-subspace-memory" {...linked} />
    </Panel>
  );
}

/** Each site holds what its last update said. */
function heldBytes(sites: readonly SiteTrace[]): { steps: number[]; values: number[] } {
  const steps = [...new Set(sites.flatMap((site) => site.steps))].sort((a, b) => a - b);
  const values = steps.map((step) => sites.reduce((sum, site) => sum + (site.saved_bytes[updateAt(site, step)] ?? 0), 0));
  return { steps, values };
}

function PickedCell({ run, picked, clear }: { run: Run; picked: Picked; clear: () => void }) {
  const spectrum = useQuery(spectrumQuery(run.id, picked.site, picked.step));
  return (
    <div data-testid="picked">
      <div className={classes.selected}>
        <b className="mono">{picked.site}</b>
        <span className="num">
          update at step {picked.step.toLocaleString("en-US")}
          {spectrum.data && `: ${spectrum.data.event}, rank ${spectrum.data.rank} of ${spectrum.data.width}`}
        </span>
        <Button size="compact-xs" variant="subtle" onClick={clear}>
          Show all sites alike
        </Button>
      </div>
      {spectrum.isError && <Failure error={spectrum.error} compact />}
      {spectrum.isPending && <Skeleton height={240} radius="lg" />}
      {spectrum.data && (
        <div className={classes.grid}>
          <Panel title="Spectrum of the basis">
            <Scree spectrum={spectrum.data} />
          </Panel>
          <Panel title="Fidelity by recursion step">
            <Profile spectrum={spectrum.data} />
          </Panel>
        </div>
      )}
    </div>
  );
}

function NoTrace({ run }: { run: Run }) {
  const isTracked = run.store_kind.startsWith("laser");
  return (
    <Empty icon="zap" title={isTracked ? "No basis was updated yet" : "This run tracks no subspace"} compact testId="no-traces">
      {!isTracked
        ? `The store “${run.store_kind}” keeps no basis. Runs with laser, laser-fused or laser-coded show here how rank and fidelity develop at every site.`
        : isLive(run)
          ? "The first update appears here by itself."
          : "It ended before the first update of a basis."}
    </Empty>
  );
}
