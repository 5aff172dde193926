import { Skeleton } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import type { Memory, Run, SiteBytes } from "~/api/model";
import { isLive, memoryQuery } from "~/api/queries";
import { Empty, Failure } from "~/ui/Empty";
import { bytes, percent } from "~/ui/format";
import { Panel } from "~/ui/Panel";
import { variantColor } from "~/ui/variants";
import classes from "./MemoryTab.module.css";

const palette = ["#5f57d0", "#0b8f84", "#c77700", "#c2447f", "#3f83d9", "#7a9a1f", "#9a5bd0", "#8a8f98"];

export default function MemoryTab({ run }: { run: Run }) {
  const memory = useQuery(memoryQuery(run.id));
  if (memory.isPending) return <Skeleton height={260} radius="lg" />;
  if (memory.isError) return <Failure error={memory.error} retry={() => void memory.refetch()} />;
  if (!memory.data?.sites.length) {
    return (
      <Empty icon="zap" title="Nothing measured yet" compact testId="no-memory">
        {isLive(run) ? "Saved bytes are measured early in the run and appear here by themselves." : "It ended before its activations were measured."}
      </Empty>
    );
  }
  const model = run.config.model as { latent_steps?: number } | undefined;
  return <Measured memory={memory.data} store={run.store_kind} latentSteps={model?.latent_steps ?? 0} />;
}

function Measured({ memory, store, latentSteps }: { memory: Memory; store: string; latentSteps: number }) {
  const { saved_bytes: saved, eager_bytes: eager } = memory;
  const kinds = totals(memory.sites, (site) => site.kind);
  const color = new Map([...kinds.keys()].map((kind, i) => [kind, palette[i % palette.length] ?? ""]));
  const callNamed = (step: number) => (step === latentSteps ? "answer" : `latent ${step + 1}`);
  const callOf = (site: SiteBytes) => callNamed(site.recursion_step);
  const inRecursion = memory.sites.filter((site) => site.recursion_step >= 0);
  return (
    <div className={classes.page}>
      <Panel title="Held between forward and backward" aside={<span className="faint num">measured at step {memory.step}</span>}>
        <p className={classes.headline} data-testid="memory-headline">
          {saved < eager * 0.9995 ? (
            <>
              <b>{percent(1 - saved / eager)} less</b> than eager training: {bytes(saved)} instead of {bytes(eager)}.
            </>
          ) : (
            <>As much as eager training: {bytes(saved)}.</>
          )}
        </p>
        <Bar label="eager" total={eager} most={Math.max(eager, saved)} parts={[["all kinds", eager, variantColor("none")]]} />
        <Bar
          label={store || "this run"}
          total={saved}
          most={Math.max(eager, saved)}
          parts={[...kinds].map(([kind, size]) => [kind, size, color.get(kind) ?? ""])}
        />
        <ul className={`${classes.legend} num`}>
          {[...kinds]
            .sort((a, b) => b[1] - a[1])
            .map(([kind, size]) => (
              <li key={kind}>
                <i style={{ background: color.get(kind) }} aria-hidden /> {kind} <span className="faint">{bytes(size)}</span>
              </li>
            ))}
        </ul>
      </Panel>
      {inRecursion.length > 0 && (
        <Panel title="By recursion step" aside={<span className="faint">what each call of the last cycle adds; bases count at the first</span>}>
          <Groups sites={inRecursion} of={callOf} order={[...Array(latentSteps + 1).keys()].map(callNamed)} color={color} />
        </Panel>
      )}
      <Panel title="By site" aside={<span className="faint num">{new Set(memory.sites.map((site) => site.site)).size} sites</span>}>
        <Groups sites={memory.sites} of={(site) => site.site} color={color} isMono />
      </Panel>
    </div>
  );
}

interface GroupsProps {
  sites: readonly SiteBytes[];
  of: (site: SiteBytes) => string;
  color: ReadonlyMap<string, string>;
  isMono?: boolean;
  order?: readonly string[];
}

/** A bar for each group, parted by kind: in the order given, otherwise the largest first. */
function Groups({ sites, of, color, isMono, order }: GroupsProps) {
  const sums = totals(sites, of);
  const most = Math.max(1, ...sums.values());
  const names = order ?? [...sums.keys()].sort((a, b) => (sums.get(b) ?? 0) - (sums.get(a) ?? 0));
  return names.map((name) => (
    <Bar
      key={name}
      label={name}
      isMono={isMono}
      total={sums.get(name) ?? 0}
      most={most}
      parts={[...totals(sites.filter((site) => of(site) === name), (site) => site.kind)].map(([kind, size]) => [kind, size, color.get(kind) ?? ""])}
    />
  ));
}

type Part = readonly [kind: string, size: number, color: string];

function Bar({ label, total, most, parts, isMono }: { label: string; total: number; most: number; parts: readonly Part[]; isMono?: boolean }) {
  return (
    <div className={classes.row}>
      <span className={`${classes.label} ${isMono ? "mono" : ""} truncate`} title={label}>
        {label}
      </span>
      <div className={classes.track}>
        {parts.map(([kind, size, color]) => (
          <div key={kind} className={classes.part} style={{ width: `${(100 * size) / most}%`, background: color }} title={`${kind}: ${bytes(size)}`} />
        ))}
      </div>
      <span className={`${classes.size} num`}>{bytes(total)}</span>
    </div>
  );
}

function totals(sites: readonly SiteBytes[], of: (site: SiteBytes) => string): Map<string, number> {
  const sums = new Map<string, number>();
  for (const site of sites) sums.set(of(site), (sums.get(of(site)) ?? 0) + site.saved_bytes);
  return sums;
}
