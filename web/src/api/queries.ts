/** Every read as a query, under keys that the live stream patches (live.ts). */
import { infiniteQueryOptions, queryOptions, type QueryClient } from "@tanstack/react-query";
import { query, request } from "~/api/client";
import type {
  ArtifactList, Comparison, DatasetList, DatasetPreview, EventPage, ExperimentPage, FilterFields, LogPage, Me, Memory, Metrics,
  Preset, Queue, Report, Run, RunPage, RunSummary, Spectrum, Traces, ViewList, WorkerList,
  AuditPage, TokenList, UserList,
  EnvironmentList, WholeCheckout, DeliveryList, WebhookList,
} from "~/api/model";
import { isFinal } from "~/api/model";
import type { RootSchema } from "~/form/schema";

export interface RunFilter {
  filter?: string | undefined;
  /** Fields of the configuration to tell of each run. */
  config?: readonly string[] | undefined;
  text?: string | undefined;
  state?: readonly string[] | undefined;
  store?: string | undefined;
  kind?: string | undefined;
  tag?: readonly string[] | undefined;
  sort?: string | undefined;
}

export const runsQuery = (filter: RunFilter) =>
  infiniteQueryOptions({
    queryKey: ["runs", filter],
    queryFn: ({ pageParam, signal }) =>
      request<RunPage>(query("/runs", { ...filter, cursor: pageParam || undefined, limit: 50 }), { signal }),
    initialPageParam: "",
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    placeholderData: (previous) => previous,
  });

/** What a filter box offers. */
export const filterFieldsQuery = () =>
  queryOptions({
    queryKey: ["filter-fields"],
    queryFn: ({ signal }) => request<FilterFields>("/filters/fields", { signal }),
    staleTime: 60_000,
  });

export const viewsQuery = () =>
  queryOptions({ queryKey: ["views"], queryFn: ({ signal }) => request<ViewList>("/views", { signal }) });

/** Runs by filter in one page, for pickers and the compare page. */
export const someRunsQuery = (filter: RunFilter, limit = 100) =>
  queryOptions({
    queryKey: ["some-runs", filter, limit],
    queryFn: ({ signal }) => request<RunPage>(query("/runs", { ...filter, limit }), { signal }),
  });

export const runQuery = (id: string) =>
  queryOptions({ queryKey: ["run", id], queryFn: ({ signal }) => request<Run>(`/runs/${id}`, { signal }) });

export const POINTS = 1000;

/** Loaded once; live.ts appends what came after. */
export const metricsQuery = (id: string) =>
  queryOptions({
    queryKey: ["metrics", id],
    queryFn: ({ signal }) => request<Metrics>(query(`/runs/${id}/metrics`, { points: POINTS }), { signal }),
    staleTime: Infinity,
  });

export const metricQuery = (id: string, keys: readonly string[], points = 400) =>
  queryOptions({
    queryKey: ["metric", id, keys, points],
    queryFn: ({ signal }) =>
      request<Metrics>(query(`/runs/${id}/metrics`, { keys: keys.join(","), points }), { signal }),
  });

export const tracesQuery = (id: string) =>
  queryOptions({
    queryKey: ["traces", id],
    queryFn: ({ signal }) => request<Traces>(`/runs/${id}/traces`, { signal }),
    staleTime: Infinity,
  });

/** What a site's update in force at a step saw. */
export const spectrumQuery = (id: string, site: string, step: number) =>
  queryOptions({
    queryKey: ["spectrum", id, site, step],
    queryFn: ({ signal }) => request<Spectrum>(query(`/runs/${id}/spectrum`, { site, step }), { signal }),
    staleTime: Infinity,
  });

/** Analyses of a training run's checkpoint, newest first. */
export const analysesQuery = (id: string) =>
  queryOptions({
    queryKey: ["some-runs", "analyses", id],
    queryFn: ({ signal }) => request<RunPage>(query("/runs", { kind: "analysis", filter: `config.checkpoint:${id}`, limit: 20 }), { signal }),
  });

export const memoryQuery = (id: string) =>
  queryOptions({
    queryKey: ["memory", id],
    queryFn: ({ signal }) => request<Memory>(`/runs/${id}/memory`, { signal }),
  });

export const MOST_LINES = 5000;

/** The newest lines; live.ts appends what came after. */
export const logsQuery = (id: string) =>
  queryOptions({
    queryKey: ["logs", id],
    queryFn: async ({ signal }) => (await request<LogPage>(query(`/runs/${id}/logs`, { tail: true, limit: MOST_LINES }), { signal })).items,
    staleTime: Infinity,
  });

export const eventsQuery = (id: string) =>
  infiniteQueryOptions({
    queryKey: ["events", id],
    queryFn: ({ pageParam, signal }) =>
      request<EventPage>(query(`/runs/${id}/events`, { after: pageParam, limit: 500 }), { signal }),
    initialPageParam: 0,
    getNextPageParam: (page) => (page.items.length < 500 ? undefined : page.items.at(-1)?.seq),
  });

export const artifactsQuery = (id: string) =>
  queryOptions({
    queryKey: ["artifacts", id],
    queryFn: ({ signal }) => request<ArtifactList>(`/runs/${id}/artifacts`, { signal }),
  });

export const environmentsQuery = (id: string) =>
  queryOptions({
    queryKey: ["environments", id],
    queryFn: ({ signal }) => request<EnvironmentList>(`/runs/${id}/environments`, { signal }),
  });

/** Never changes. */
export const checkoutQuery = (id: string) =>
  queryOptions({
    queryKey: ["checkout", id],
    queryFn: ({ signal }) => request<WholeCheckout>(`/runs/${id}/checkout`, { signal }),
    staleTime: Infinity,
  });

export const compareQuery = (ids: readonly string[]) =>
  queryOptions({
    queryKey: ["compare", ids],
    queryFn: ({ signal }) => request<Comparison>(query("/compare", { run: ids }), { signal }),
    enabled: ids.length > 0,
  });

export const experimentsQuery = () =>
  infiniteQueryOptions({
    queryKey: ["experiments"],
    queryFn: ({ pageParam, signal }) =>
      request<ExperimentPage>(query("/experiments", { before: pageParam || undefined, limit: 50 }), { signal }),
    initialPageParam: 0,
    getNextPageParam: (page) => page.next_before ?? undefined,
  });

export const experimentQuery = (id: string) =>
  queryOptions({ queryKey: ["experiment", id], queryFn: ({ signal }) => request<Report>(`/experiments/${id}`, { signal }) });

export const datasetsQuery = () =>
  queryOptions({
    queryKey: ["datasets"],
    queryFn: ({ signal }) => request<DatasetList>("/datasets", { signal }),
  });

export const previewQuery = (id: string, rows: number) =>
  queryOptions({
    queryKey: ["preview", id, rows],
    queryFn: ({ signal }) =>
      request<DatasetPreview>(query(`/datasets/${id}/preview`, { rows }), { signal }),
    staleTime: Infinity,
  });

/** The whole queue, or one run's place in it. */
export const queueQuery = (id = "") =>
  queryOptions({
    queryKey: ["queue", id],
    queryFn: ({ signal }) => request<Queue>(query("/queue", { id: id || undefined }), { signal }),
    refetchInterval: 5000,
  });

export const usersQuery = () =>
  queryOptions({ queryKey: ["users"], queryFn: ({ signal }) => request<UserList>("/users", { signal }) });

export const tokensQuery = (user?: string) =>
  queryOptions({ queryKey: ["tokens", user], queryFn: ({ signal }) => request<TokenList>(query("/tokens", { user }), { signal }) });

export const webhooksQuery = () =>
  queryOptions({ queryKey: ["webhooks"], queryFn: ({ signal }) => request<WebhookList>("/webhooks", { signal }) });

/** Newest first; asked again while one waits for its first answer. */
export const deliveriesQuery = (id: string) =>
  queryOptions({
    queryKey: ["deliveries", id],
    queryFn: ({ signal }) => request<DeliveryList>(`/webhooks/${id}/deliveries`, { signal }),
    refetchInterval: (query) => (query.state.data?.items.some((one) => one.next_at !== null) ? 2000 : 30_000),
  });

/** Newest first, page by page. */
export const auditQuery = () =>
  infiniteQueryOptions({
    queryKey: ["audit"],
    queryFn: ({ pageParam, signal }) => request<AuditPage>(query("/audit", { before: pageParam, limit: 50 }), { signal }),
    initialPageParam: undefined as number | undefined,
    getNextPageParam: (page) => page.next_before ?? undefined,
  });

export const meQuery = () =>
  queryOptions({
    queryKey: ["me"],
    queryFn: ({ signal }) => request<Me>("/me", { signal }),
    staleTime: Infinity,
  });

export const workersQuery = () =>
  queryOptions({
    queryKey: ["workers"],
    queryFn: ({ signal }) => request<WorkerList>("/workers", { signal }),
    refetchInterval: 5000,
  });

export const schemaQuery = () =>
  queryOptions({
    queryKey: ["schema"],
    queryFn: ({ signal }) => request<RootSchema>("/schema/run", { signal }),
    staleTime: Infinity,
  });

export const presetsQuery = () =>
  queryOptions({
    queryKey: ["presets"],
    queryFn: ({ signal }) => request<Preset[]>("/presets", { signal }),
    staleTime: Infinity,
  });

export const versionQuery = () =>
  queryOptions({
    queryKey: ["version"],
    queryFn: ({ signal }) => request<{ version: string }>("/version", { signal }),
    staleTime: Infinity,
  });

/** After a run changed in a way that the stream may not tell, such as its deletion. */
export function forgetRun(client: QueryClient, id: string): void {
  client.removeQueries({ queryKey: ["run", id] });
  void client.invalidateQueries({ queryKey: ["runs"] });
}

export function isLive(run: RunSummary | undefined): boolean {
  return run !== undefined && !isFinal(run.state);
}
