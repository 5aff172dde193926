import { Button, Skeleton } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import { auditQuery } from "~/api/queries";
import classes from "~/account/Account.module.css";
import { Ago } from "~/ui/Ago";
import { Failure } from "~/ui/Empty";
import { Panel } from "~/ui/Panel";

export function AuditLog() {
  const log = useInfiniteQuery(auditQuery());
  if (log.isPending) return <Skeleton height={160} radius="lg" />;
  if (log.isError) return <Failure error={log.error} retry={() => void log.refetch()} />;
  return (
    <Panel
      title="Audit log"
      flush
      aside={
        log.hasNextPage && (
          <Button size="compact-xs" variant="default" loading={log.isFetchingNextPage} onClick={() => void log.fetchNextPage()}>
            Older
          </Button>
        )
      }
    >
      <div className={classes.scroll} tabIndex={0} role="region" aria-label="Audit log">
        <table className={classes.table} data-testid="audit">
          <thead>
            <tr>
              <th>When</th>
              <th>Who</th>
              <th>What</th>
              <th>Which</th>
              <th>More</th>
            </tr>
          </thead>
          <tbody>
            {log.data.pages
              .flatMap((page) => page.items)
              .map((entry) => (
                <tr key={entry.number}>
                  <td>
                    <Ago time={entry.time} />
                  </td>
                  <td className={classes.name}>{entry.user_name || "–"}</td>
                  <td className={entry.outcome === "refused" ? classes.refused : undefined}>
                    {entry.action}
                    {entry.outcome === "refused" && ": refused"}
                  </td>
                  <td className={`${classes.name} mono`} title={entry.object_id}>
                    {entry.object_id}
                  </td>
                  <td className={classes.detail}>{entry.detail}</td>
                </tr>
              ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}
