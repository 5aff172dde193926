import { Skeleton, Tabs } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { lazy, Suspense, useEffect, useRef, type ComponentType } from "react";
import { ApiError } from "~/api/client";
import { useLiveRun } from "~/api/live";
import type { Run } from "~/api/model";
import { logsQuery, runQuery } from "~/api/queries";
import { ChartsTab } from "~/run/ChartsTab";
import { RunHeader } from "~/run/RunHeader";
import { runRoute } from "~/router";
import { ConnectionBanner } from "~/shell/ConnectionBanner";
import { NotFound } from "~/shell/Crash";
import { Failure } from "~/ui/Empty";

export interface TabProps {
  run: Run;
}

const tabs: readonly { name: string; label: string; Tab: ComponentType<TabProps>; onlyOf?: readonly Run["kind"][] }[] = [
  { name: "charts", label: "Charts", Tab: ChartsTab },
  { name: "subspace", label: "Subspace", Tab: lazy(() => import("~/run/SubspaceTab")), onlyOf: ["train"] },
  { name: "reasoning", label: "Reasoning", Tab: lazy(() => import("~/run/ReasoningTab")), onlyOf: ["train", "inspect"] },
  { name: "memory", label: "Memory", Tab: lazy(() => import("~/run/MemoryTab")), onlyOf: ["train"] },
  { name: "claims", label: "Claims", Tab: lazy(() => import("~/run/ClaimsTab")), onlyOf: ["analysis"] },
  { name: "logs", label: "Logs", Tab: lazy(() => import("~/run/LogsTab")) },
  { name: "config", label: "Config", Tab: lazy(() => import("~/run/ConfigTab")) },
  { name: "events", label: "Events", Tab: lazy(() => import("~/run/EventsTab")) },
  { name: "files", label: "Files", Tab: lazy(() => import("~/run/FilesTab")) },
];

export function RunPage() {
  const { id } = runRoute.useParams();
  const run = useQuery(runQuery(id));
  if (run.isError && run.error instanceof ApiError && run.error.status === 404) return <NotFound />;
  if (run.isError && !run.data) return <Failure error={run.error} retry={() => void run.refetch()} />;
  if (!run.data) return <Loading />;
  return <Loaded key={id} run={run.data} />;
}

function Loaded({ run }: TabProps) {
  const usual = run.kind === "analysis" ? "claims" : run.kind === "inspect" ? "reasoning" : "charts";
  const { tab = usual } = runRoute.useSearch();
  const navigate = useNavigate();
  const lines = useQuery(logsQuery(run.id));
  // The stream goes on where the log lines end, so that no line is missed and old events aren't replayed.
  const after = lines.isPending ? undefined : (lines.data?.at(-1)?.seq ?? 0);
  const connection = useLiveRun(run.id, after);
  const list = useRef<HTMLDivElement>(null);
  useEffect(() => {
    // On a phone the open tab may be beyond the edge.
    const active = list.current?.querySelector("[data-active]");
    if (!list.current || !active) return;
    const beyond = active.getBoundingClientRect().right + 32 - list.current.getBoundingClientRect().right;
    if (beyond > 0) list.current.scrollLeft += beyond;
  }, [tab]);
  const shown = tabs.filter((t) => !t.onlyOf || t.onlyOf.includes(run.kind));
  const open = (name: string | null) =>
    void navigate({ to: "/runs/$id", params: { id: run.id }, search: name === usual ? {} : { tab: name ?? undefined }, replace: true, resetScroll: false });
  return (
    <>
      <ConnectionBanner connection={connection} />
      <RunHeader run={run} connection={connection} />
      <Tabs value={tab} onChange={open} keepMounted={false}>
        <Tabs.List ref={list} className="scroll-tabs" mb="md">
          {shown.map(({ name, label }) => (
            <Tabs.Tab key={name} value={name} data-testid={`tab-${name}`}>
              {label}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        {shown.map(({ name, Tab }) => (
          <Tabs.Panel key={name} value={name} data-testid={`panel-${name}`}>
            <Suspense fallback={<Skeleton height={260} radius="lg" />}>
              <Tab run={run} />
            </Suspense>
          </Tabs.Panel>
        ))}
      </Tabs>
    </>
  );
}

function Loading() {
  return (
    <div aria-label="Loading the run" style={{ display: "grid", gap: 16 }}>
      <Skeleton height={34} width="45%" />
      <Skeleton height={92} radius="lg" />
      <Skeleton height={320} radius="lg" />
    </div>
  );
}
