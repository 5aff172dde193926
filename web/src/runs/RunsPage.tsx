import { Button, Skeleton } from "@mantine/core";
import { useInView } from "~/ui/useInView";
import { useMediaQuery } from "@mantine/hooks";
import { useInfiniteQuery } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { useCallback, useEffect, useMemo, useState } from "react";
import { useReadOnly } from "~/account/ReadOnly";
import { useLiveRuns } from "~/api/live";
import { runsQuery } from "~/api/queries";
import { runsRoute, type RunsSearch } from "~/router";
import { ColumnChooser } from "~/runs/ColumnChooser";
import { useColumns } from "~/runs/columns";
import { isFilterProblem } from "~/runs/FilterBox";
import { Filters } from "~/runs/Filters";
import { RunCards } from "~/runs/RunCards";
import { RunsTable } from "~/runs/RunsTable";
import { SelectionBar } from "~/runs/SelectionBar";
import { ViewsMenu } from "~/runs/ViewsMenu";
import { ConnectionBanner, LiveDot } from "~/shell/ConnectionBanner";
import { Command } from "~/ui/Copy";
import { Empty, Failure } from "~/ui/Empty";
import { count } from "~/ui/format";
import { Icon } from "~/ui/icons";
import { PageHead } from "~/ui/PageHead";
import classes from "./Runs.module.css";

export function RunsPage() {
  const search = runsRoute.useSearch();
  const navigate = useNavigate();
  const connection = useLiveRuns();
  const setSearch = (patch: Partial<RunsSearch>) =>
    void navigate({ to: "/", search: { ...search, ...patch }, replace: true, resetScroll: false });
  const { ids, columns, choose, isUsual } = useColumns(search.col, (col) => setSearch({ col }));
  const { filter, state, store, kind, tag, sort } = search;
  const config = ids.filter((id) => id.startsWith("config.")).map((id) => id.slice("config.".length));
  const runs = useInfiniteQuery(runsQuery({ filter, state, store, kind, tag, sort, config }));
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const isNarrow = useMediaQuery("(max-width: 860px)", false, { getInitialValueInEffect: false });

  // A filter that can't be read, or isn't finished, leaves on the page what the last good one found.
  const [good, setGood] = useState(runs.data);
  if (runs.data && runs.data !== good) setGood(runs.data);
  const data = runs.data ?? (isFilterProblem(runs.error) ? good : undefined);
  const toggle = useCallback(
    (id: string) =>
      setSelected((old) => {
        const next = new Set(old);
        if (!next.delete(id)) next.add(id);
        return next;
      }),
    [],
  );

  const clear = useCallback(() => setSelected(new Set()), []);
  const items = useMemo(() => data?.pages.flatMap((page) => page.items) ?? [], [data]);
  const total = data?.pages[0]?.total ?? 0;
  const isFiltered = Boolean(search.filter || search.state || search.store || search.kind || search.tag);
  const rows = { runs: items, total, columns, selected, toggle, search, setSearch, selectAll: (ids: string[]) => setSelected(new Set(ids)) };

  return (
    <>
      <ConnectionBanner connection={connection} />
      <PageHead title="Runs" sub={data ? `${count(total)} ${total === 1 ? "run" : "runs"}${isFiltered ? " match" : ""}` : " "}>
        <LiveDot connection={connection} />
        {!isNarrow && <ColumnChooser ids={ids} isUsual={isUsual} choose={choose} />}
        <ViewsMenu search={search} columns={isUsual ? [] : ids} />
      </PageHead>
      {(items.length > 0 || isFiltered) && <Filters search={search} setSearch={setSearch} error={runs.error} />}
      {runs.isPending && <Loading />}
      {runs.isError && !data && !isFilterProblem(runs.error) && <Failure error={runs.error} retry={() => void runs.refetch()} />}
      {data && items.length === 0 && (isFiltered ? <NoMatch clear={() => void navigate({ to: "/", search: {} })} /> : <NoRuns />)}
      {items.length > 0 && (isNarrow ? <RunCards {...rows} /> : <RunsTable {...rows} />)}
      {runs.hasNextPage && <More load={() => void runs.fetchNextPage()} isLoading={runs.isFetchingNextPage} shown={items.length} total={total} />}
      <SelectionBar runs={items.filter((run) => selected.has(run.id))} clear={clear} />
    </>
  );
}

/** Loads the next page when it comes into sight; the button is there for those who don't scroll. */
function More({ load, isLoading, shown, total }: { load: () => void; isLoading: boolean; shown: number; total: number }) {
  const { ref, isInView } = useInView<HTMLDivElement>("400px");
  useEffect(() => {
    if (isInView && !isLoading) load();
    // `load` changes with every render; only coming into sight and a finished page matter.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [isInView, isLoading]);
  return (
    <div ref={ref} className={classes.more}>
      <Button variant="default" loading={isLoading} onClick={load} data-testid="load-more">
        Load more
      </Button>
      <span className="muted num">
        {count(shown)} of {count(total)}
      </span>
    </div>
  );
}

function Loading() {
  return (
    <div className={classes.loading} aria-label="Loading runs">
      {Array.from({ length: 8 }, (_, i) => (
        <Skeleton key={i} height={52} radius="md" />
      ))}
    </div>
  );
}

function NoRuns() {
  const readOnly = useReadOnly();
  if (readOnly) {
    return (
      <Empty icon="runs" title="No run yet" testId="no-runs">
        Runs of everybody appear here as soon as there are any. {readOnly}
      </Empty>
    );
  }
  return (
    <Empty
      icon="zap"
      title="Train your first run"
      testId="no-runs"
      actions={
        <>
          <Button leftSection={<Icon name="plus" />} renderRoot={(props) => <Link to="/new" {...props} />}>
            New run
          </Button>
          <Command text="laser submit run.yaml" />
        </>
      }
    >
      Fill in a form, or send a file from the terminal. It queues, a worker takes it, and its curves move here while it trains.
      To see a whole comparison, run <code>laser demo</code>.
    </Empty>
  );
}

function NoMatch({ clear }: { clear: () => void }) {
  return (
    <Empty
      icon="search"
      title="No run matches"
      testId="no-match"
      actions={
        <Button variant="default" onClick={clear}>
          Clear all filters
        </Button>
      }
    >
      Try fewer words, or another state.
    </Empty>
  );
}
