/** Appending new points to held ones: steps only rise, so what is already there is dropped. */
import type { Metrics, Series, SiteTrace, Traces } from "~/api/model";

export function mergeMetrics(old: Metrics, fresh: Metrics): Metrics {
  const byKey = new Map(fresh.series.map((s) => [s.key, s]));
  const merged = old.series.map((s) => appendSeries(s, byKey.get(s.key)));
  const known = new Set(old.series.map((s) => s.key));
  return { series: [...merged, ...fresh.series.filter((s) => !known.has(s.key))] };
}

function appendSeries(old: Series, fresh: Series | undefined): Series {
  const from = fresh ? firstAfter(fresh.steps, old.steps.at(-1)) : -1;
  if (!fresh || from < 0) return old;
  const values = [...old.values, ...fresh.values.slice(from)];
  return { ...old, steps: [...old.steps, ...fresh.steps.slice(from)], values, count: old.count + values.length - old.values.length };
}

export function mergeTraces(old: Traces, fresh: Traces): Traces {
  const bySite = new Map(fresh.sites.map((s) => [s.site, s]));
  const merged = old.sites.map((s) => appendTrace(s, bySite.get(s.site)));
  const known = new Set(old.sites.map((s) => s.site));
  return { sites: [...merged, ...fresh.sites.filter((s) => !known.has(s.site))] };
}

function appendTrace(old: SiteTrace, fresh: SiteTrace | undefined): SiteTrace {
  const from = fresh ? firstAfter(fresh.steps, old.steps.at(-1)) : -1;
  if (!fresh || from < 0) return old;
  return {
    ...old,
    steps: [...old.steps, ...fresh.steps.slice(from)],
    ranks: [...old.ranks, ...fresh.ranks.slice(from)],
    fidelities: [...old.fidelities, ...fresh.fidelities.slice(from)],
    drifts: [...old.drifts, ...fresh.drifts.slice(from)],
    saved_bytes: [...old.saved_bytes, ...fresh.saved_bytes.slice(from)],
    events: [...old.events, ...fresh.events.slice(from)],
  };
}

function firstAfter(steps: number[], last: number | undefined): number {
  return last === undefined ? 0 : steps.findIndex((step) => step > last);
}
