import { Button, Skeleton } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import type { Run, RunEvent } from "~/api/model";
import { eventsQuery } from "~/api/queries";
import { Empty, Failure } from "~/ui/Empty";
import { bytes, clock, count, moment, percent, value } from "~/ui/format";
import { Icon, type IconName } from "~/ui/icons";
import { Panel } from "~/ui/Panel";
import classes from "./EventsTab.module.css";

const icons: Record<string, IconName> = { state: "arrowDown", started: "zap", checkpoint: "file", memory: "data", result: "check" };

// Rung for every batch of points, which the curves show; lines are in Logs.
const SHOWN_ELSEWHERE = new Set(["metrics", "traces", "log"]);

export default function EventsTab({ run }: { run: Run }) {
  const events = useInfiniteQuery(eventsQuery(run.id));
  if (events.isPending) return <Skeleton height={260} radius="lg" />;
  if (events.isError) return <Failure error={events.error} retry={() => void events.refetch()} />;
  const shown = events.data.pages.flatMap((page) => page.items).filter((event) => !SHOWN_ELSEWHERE.has(event.kind));
  if (!shown.length) return <Empty icon="info" title="Nothing has happened yet" compact />;
  return (
    <Panel flush>
      <ol className={classes.list} data-testid="events">
        {shown.map((event) => (
          <li key={event.seq}>
            <span className={classes.icon} data-kind={event.kind}>
              <Icon name={icons[event.kind] ?? "info"} size={13} />
            </span>
            <span className={classes.kind}>{event.kind}</span>
            <span className={classes.words}>{describe(event)}</span>
            <time className="num faint" title={moment(event.time)}>
              {clock(event.time)}
            </time>
            <span className={`${classes.seq} num faint`}>{event.seq}</span>
          </li>
        ))}
      </ol>
      {events.hasNextPage && (
        <div className={classes.more}>
          <Button variant="default" size="xs" loading={events.isFetchingNextPage} onClick={() => void events.fetchNextPage()}>
            Load more
          </Button>
        </div>
      )}
    </Panel>
  );
}

function describe({ kind, data }: RunEvent): string {
  const number = (name: string) => (typeof data[name] === "number" ? (data[name] as number) : 0);
  const word = (name: string) => (typeof data[name] === "string" ? (data[name] as string) : "");
  switch (kind) {
    case "state":
      return [word("from") ? `${word("from")} → ${word("state")}` : word("state"), word("reason")].filter(Boolean).join(" · ");
    case "started":
      return `step ${count(number("step"))} of ${count(number("steps"))} on ${word("device")}, ${count(number("parameters"))} parameters`;
    case "checkpoint":
      return `step ${count(number("step"))}, ${bytes(number("size_bytes"))}`;
    case "memory":
      return `${bytes(number("saved_bytes"))} held, eager ${bytes(number("eager_bytes"))} (${percent(number("saved_bytes") / number("eager_bytes"))})`;
    case "result":
      return resultWords(data.values);
    default:
      return JSON.stringify(data);
  }
}

function resultWords(values: unknown): string {
  const entries = typeof values === "object" && values !== null ? Object.entries(values) : [];
  return entries.map(([name, held]) => `${name} ${typeof held === "number" ? value(held) : "–"}`).join(" · ");
}
