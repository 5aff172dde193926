import { Button, Skeleton } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useReadOnly } from "~/account/ReadOnly";
import { experimentsQuery } from "~/api/queries";
import { States } from "~/experiments/ExperimentPage";
import { Ago } from "~/ui/Ago";
import { Command } from "~/ui/Copy";
import { Empty, Failure } from "~/ui/Empty";
import { Icon } from "~/ui/icons";
import { PageHead } from "~/ui/PageHead";
import { Panel } from "~/ui/Panel";
import classes from "./Experiments.module.css";

export function ExperimentsPage() {
  const readOnly = useReadOnly();
  const pages = useInfiniteQuery({ ...experimentsQuery(), refetchInterval: 5000 });
  const items = pages.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <>
      <PageHead title="Experiments" sub="Variants × seeds from one file, judged by pairs of equal seed.">
        {!readOnly && (
          <Button leftSection={<Icon name="plus" />} renderRoot={(props) => <Link to="/sweep" {...props} />} data-testid="new-sweep">
            New sweep
          </Button>
        )}
      </PageHead>
      {pages.isPending && <Skeleton height={220} radius="lg" />}
      {pages.isError && !pages.data && <Failure error={pages.error} retry={() => void pages.refetch()} />}
      {pages.data && !items.length && (
        <Empty icon="experiment" title="No experiment yet" actions={!readOnly && <Command text="laser experiment submit docs/examples/sudoku-4x4.yaml" />}>
          One file with variants, seeds and a margin makes all the runs, and the page then says in words which variant is better.
        </Empty>
      )}
      {items.length > 0 && (
        <Panel flush>
          <div className={classes.scroll} tabIndex={0} role="region" aria-label="Experiments">
            <table className={`${classes.table} num`}>
              <thead>
                <tr>
                  <th>Experiment</th>
                  <th className={classes.wide}>Margin</th>
                  <th className={classes.words} style={{ minWidth: 130 }}>
                    Runs
                  </th>
                  <th className={`${classes.words} ${classes.wide}`}>Owner</th>
                  <th>Made</th>
                </tr>
              </thead>
              <tbody>
                {items.map((each) => (
                  <tr key={each.id} data-testid="experiment-row">
                    <td>
                      <Link to="/experiments/$id" params={{ id: each.id }} className={classes.link}>
                        {each.name}
                      </Link>
                    </td>
                    <td className={classes.wide}>{each.margin} points</td>
                    <td className={classes.words}>
                      <States states={each.states} runs={each.runs} />
                    </td>
                    <td className={`${classes.words} ${classes.wide}`}>{each.owner_name}</td>
                    <td>
                      <Ago time={each.created_at} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </Panel>
      )}
      {pages.hasNextPage && (
        <Button variant="default" mt="md" loading={pages.isFetchingNextPage} onClick={() => void pages.fetchNextPage()}>
          Older ones
        </Button>
      )}
    </>
  );
}
