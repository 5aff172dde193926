import { Button, Skeleton } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { compareQuery, someRunsQuery } from "~/api/queries";
import { CompareCurves } from "~/compare/CompareCurves";
import { ConfigDifference } from "~/compare/ConfigDifference";
import { GroupCards } from "~/compare/GroupCards";
import { Pairs } from "~/compare/Pairs";
import { RunPicker } from "~/compare/RunPicker";
import { compareRoute } from "~/router";
import { Empty, Failure } from "~/ui/Empty";
import { Icon } from "~/ui/icons";
import { PageHead } from "~/ui/PageHead";
import classes from "./Compare.module.css";

const MOST_RUNS = 200; // that the server compares at once

/** Runs by address (`?run=…&run=…`), or all runs of some tags (`?tag=demo`). */
export function ComparePage() {
  const { run: ids, tag } = compareRoute.useSearch();
  const tagged = useQuery({ ...someRunsQuery({ tag, kind: "train" }, MOST_RUNS), enabled: tag !== undefined && ids === undefined });
  if (ids === undefined && tag === undefined) return <Choose />;
  if (tagged.isError) return <Failure error={tagged.error} retry={() => void tagged.refetch()} />;
  if (ids === undefined && !tagged.data) return <Skeleton height={320} radius="lg" />;
  const chosen = ids ?? tagged.data?.items.map((run) => run.id) ?? [];
  if (!chosen.length) {
    return (
      <Empty icon="compare" title={`No run carries the tag “${tag?.join(", ")}”`} testId="compare-none">
        {tag?.includes("demo") ? "Run `laser demo` to train three seeds with and without LASER." : "Choose runs in the list, then Compare."}
      </Empty>
    );
  }
  return <Comparing ids={chosen} tag={ids ? undefined : tag} />;
}

function Choose() {
  return (
    <>
      <PageHead title="Compare" sub="Groups of runs side by side, paired by seed. Choose at least two." />
      <RunPicker />
    </>
  );
}

function Comparing({ ids, tag }: { ids: readonly string[]; tag: readonly string[] | undefined }) {
  const comparison = useQuery({ ...compareQuery(ids), refetchInterval: 10_000 });
  if (comparison.isError) return <Failure error={comparison.error} retry={() => void comparison.refetch()} />;
  if (!comparison.data) return <Skeleton height={420} radius="lg" />;
  const { groups, pairings, summary } = comparison.data;
  const ordered = groups.flatMap((group) => group.members.map((member) => member.run_id));
  return (
    <>
      <PageHead
        title={tag ? `Compare: ${tag.join(", ")}` : "Compare"}
        sub={`${ids.length} ${ids.length === 1 ? "run" : "runs"} in ${groups.length} ${groups.length === 1 ? "group" : "groups"}`}
      >
        <Button variant="default" leftSection={<Icon name="runs" />} renderRoot={(props) => <Link to="/compare" {...props} />}>
          Other runs
        </Button>
      </PageHead>
      <div className={classes.page}>
        {summary && (
          <blockquote className={classes.summary} data-testid="compare-summary">
            {summary}
          </blockquote>
        )}
        <GroupCards groups={groups} pairings={pairings} />
        {pairings.map((pairing) => (
          <Pairs key={pairing.variant} pairing={pairing} groups={groups} />
        ))}
        <CompareCurves groups={groups} />
        <ConfigDifference ids={ordered} />
      </div>
    </>
  );
}
