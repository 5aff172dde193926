/** What the stream says goes into the query cache: summaries replace, points and lines are appended, nothing is loaded twice. */
import { useQueryClient, type InfiniteData, type QueryClient } from "@tanstack/react-query";
import { useEffect, useMemo } from "react";
import { query, request } from "~/api/client";
import { mergeMetrics, mergeTraces } from "~/api/merge";
import type { LogLine, Metrics, Run, RunEvent, RunPage, RunSummary, Traces } from "~/api/model";
import { MOST_LINES, POINTS } from "~/api/queries";
import { useStream, type Connection } from "~/api/stream";

const MOST_POINTS = 6 * POINTS;
const SPARE_LINES = 500; // dropped at once, not one by one

/** Keeps the run lists fresh. */
export function useLiveRuns(): Connection {
  const client = useQueryClient();
  const refresh = useMemo(() => throttle(() => void client.invalidateQueries({ queryKey: ["runs"] }), 1500), [client]);
  useEffect(() => refresh.stop, [refresh]);
  return useStream({
    kinds: ["run"],
    onEvent: (_kind, data) => {
      if (!patchLists(client, data as RunSummary)) refresh.call();
    },
    onReconnect: refresh.call,
  });
}

/** Keeps one run's page fresh, from the event after ``after`` on. */
export function useLiveRun(id: string, after: number | undefined): Connection {
  const client = useQueryClient();
  const bells = useMemo(() => doorbells(client, id), [client, id]);
  useEffect(() => bells.stop, [bells]);
  return useStream(
    {
      run: id,
      after,
      kinds: ["run", "state", "started", "log", "checkpoint", "metrics", "traces", "memory", "file", "result"],
      onEvent: (kind, data) => {
        if (kind === "run") setRun(client, data as RunSummary);
        else bells.ring(kind, data as RunEvent);
      },
      onReconnect: bells.all,
      onRefused: () => void client.invalidateQueries({ queryKey: ["run", id] }),
    },
    after !== undefined,
  );
}

function doorbells(client: QueryClient, id: string) {
  const metrics = throttle(() => void appendMetrics(client, id), 700);
  const traces = throttle(() => void appendTraces(client, id), 900);
  const reload = (key: string) => throttle(() => void client.invalidateQueries({ queryKey: [key, id] }), 700);
  const [memory, artifacts, events, run] = [reload("memory"), reload("artifacts"), reload("events"), reload("run")];
  const ring = (kind: string, event: RunEvent) => {
    if (kind === "log") appendLog(client, id, event);
    if (kind === "metrics" || kind === "result") metrics.call();
    if (kind === "traces") traces.call();
    if (kind === "memory") memory.call();
    if (kind === "checkpoint" || kind === "file") artifacts.call();
    if (kind === "result" || kind === "state") run.call();
    if (kind !== "metrics" && kind !== "traces" && kind !== "log") events.call();
  };
  const every = [metrics, traces, memory, artifacts, events, run];
  return { ring, all: () => every.forEach((t) => t.call()), stop: () => every.forEach((t) => t.stop()) };
}

/** False when no list shows the run yet. */
function patchLists(client: QueryClient, run: RunSummary): boolean {
  setRun(client, run);
  let isShown = false;
  client.setQueriesData<InfiniteData<RunPage>>({ queryKey: ["runs"] }, (data) => {
    if (!data?.pages.some((page) => page.items.some((item) => item.id === run.id))) return data;
    isShown = true;
    const swap = (item: RunSummary) => (item.id === run.id ? { ...run, fields: item.fields } : item);
    return { ...data, pages: data.pages.map((page) => ({ ...page, items: page.items.map(swap) })) };
  });
  return isShown;
}

function setRun(client: QueryClient, run: RunSummary): void {
  client.setQueryData<Run>(["run", run.id], (old) => (!old || old.updated_at > run.updated_at ? old : { ...old, ...run }));
}

function appendLog(client: QueryClient, id: string, { seq, time, epoch, data }: RunEvent): void {
  const level = data.level === "warning" || data.level === "error" ? data.level : "info";
  const line: LogLine = { seq, time, epoch, level, message: String(data.message ?? "") };
  client.setQueryData<LogLine[]>(["logs", id], (lines) => {
    if (!lines || (lines.at(-1)?.seq ?? 0) >= seq) return lines;
    return [...(lines.length < MOST_LINES + SPARE_LINES ? lines : lines.slice(-MOST_LINES)), line];
  });
}

async function appendMetrics(client: QueryClient, id: string): Promise<void> {
  const held = client.getQueryData<Metrics>(["metrics", id]);
  if (!held) return;
  if (held.series.some((s) => s.steps.length > MOST_POINTS)) {
    return client.invalidateQueries({ queryKey: ["metrics", id] }); // thinned anew by the server: no tab grows for ever
  }
  // One step back: a metric measured at the newest step may have come after the others of that step.
  const newest = Math.max(-1, ...held.series.map((s) => s.steps.at(-1) ?? -1));
  const after = newest < 1 ? undefined : newest - 1;
  const fresh = await request<Metrics>(query(`/runs/${id}/metrics`, { points: POINTS, after_step: after })).catch(() => null);
  if (fresh) client.setQueryData<Metrics>(["metrics", id], (old) => (old ? mergeMetrics(old, fresh) : fresh));
}

async function appendTraces(client: QueryClient, id: string): Promise<void> {
  const held = client.getQueryData<Traces>(["traces", id]);
  if (!held) return;
  const newest = Math.max(-1, ...held.sites.map((s) => s.steps.at(-1) ?? -1));
  const after = newest < 1 ? undefined : newest - 1;
  const fresh = await request<Traces>(query(`/runs/${id}/traces`, { after_step: after })).catch(() => null);
  if (fresh) client.setQueryData<Traces>(["traces", id], (old) => (old ? mergeTraces(old, fresh) : fresh));
}

/** At most one call per ``gapMs``, the last one never lost. */
function throttle(action: () => void, gapMs: number) {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let last = 0;
  const fire = () => {
    timer = undefined;
    last = Date.now();
    action();
  };
  return {
    call: () => {
      timer ??= setTimeout(fire, Math.max(0, last + gapMs - Date.now()));
    },
    stop: () => {
      clearTimeout(timer);
      timer = undefined;
    },
  };
}
