import { Button, Skeleton, Switch, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import type { LogLine, Run } from "~/api/model";
import { isLive, logsQuery, MOST_LINES } from "~/api/queries";
import { Empty, Failure } from "~/ui/Empty";
import { clock, count } from "~/ui/format";
import { Icon } from "~/ui/icons";
import { Panel } from "~/ui/Panel";
import classes from "./LogsTab.module.css";

const LINE = 21;
const SPARE = 20;
const MOST_IN_SIGHT = 33; // 680 pixels of them

export default function LogsTab({ run }: { run: Run }) {
  const logs = useQuery(logsQuery(run.id));
  const [needle, setNeedle] = useState("");
  const [isFollowing, setFollowing] = useState(true);
  const lines = useMemo(() => matching(logs.data ?? [], needle), [logs.data, needle]);
  if (logs.isPending) return <Skeleton height={300} radius="lg" />;
  if (logs.isError) return <Failure error={logs.error} retry={() => void logs.refetch()} />;
  if (!logs.data.length) {
    return (
      <Empty icon="file" title="No line yet" compact testId="no-logs">
        {isLive(run) ? "What the training process says appears here as it is said." : "This run said nothing."}
      </Empty>
    );
  }
  return (
    <Panel
      flush
      title={
        <TextInput
          leftSection={<Icon name="search" size={14} />}
          placeholder="Search the log"
          aria-label="Search the log"
          size="xs"
          w={240}
          value={needle}
          onChange={(event) => setNeedle(event.currentTarget.value)}
          data-testid="log-search"
        />
      }
      aside={
        <>
          <span className="faint num">
            {needle && `${count(lines.length)} of `}
            {logs.data.length >= MOST_LINES && "the newest "}
            {count(logs.data.length)} {logs.data.length === 1 ? "line" : "lines"}
          </span>
          {logs.data.length >= MOST_LINES && (
            <span className="faint">
              all: <code>laser logs {run.id}</code>
            </span>
          )}
          <Switch size="xs" label="Follow" checked={isFollowing} onChange={(event) => setFollowing(event.currentTarget.checked)} data-testid="log-follow" />
        </>
      }
    >
      <Window lines={lines} needle={needle} isFollowing={isFollowing} setFollowing={setFollowing} />
    </Panel>
  );
}

function matching(lines: readonly LogLine[], needle: string): readonly LogLine[] {
  const wanted = needle.trim().toLowerCase();
  const rows = lines.flatMap((line) => line.message.split("\n").map((message) => ({ ...line, message })));
  return wanted ? rows.filter((line) => line.message.toLowerCase().includes(wanted)) : rows;
}

interface WindowProps {
  lines: readonly LogLine[];
  needle: string;
  isFollowing: boolean;
  setFollowing: (isFollowing: boolean) => void;
}

/** Only the lines in sight are in the page: every line is equally high. */
function Window({ lines, needle, isFollowing, setFollowing }: WindowProps) {
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const before = useRef(lines);
  useLayoutEffect(() => {
    // Lines dropped at the head (live.ts) must not move those that are being read.
    const dropped = lines[0] ? before.current.findIndex((line) => line.seq === lines[0]?.seq) : 0;
    if (dropped > 0 && !needle && box.current) box.current.scrollTop -= dropped * LINE;
    before.current = lines;
  }, [lines, needle]);
  useEffect(() => {
    if (isFollowing && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [isFollowing, lines]);
  const first = Math.max(0, Math.floor(top / LINE) - SPARE);
  const shown = lines.slice(first, first + MOST_IN_SIGHT + 2 * SPARE);
  const onScroll = () => {
    if (!box.current) return;
    const { scrollTop, scrollHeight, clientHeight } = box.current;
    setTop(scrollTop);
    if (scrollTop < top - 2 && scrollHeight - scrollTop - clientHeight > LINE * 2) setFollowing(false);
  };
  return (
    <div className={classes.frame}>
      <div ref={box} className={classes.box} onScroll={onScroll} tabIndex={0} role="log" aria-label="Log" data-testid="log">
        <div style={{ height: lines.length * LINE, position: "relative" }}>
          <div style={{ transform: `translateY(${first * LINE}px)` }}>
            {shown.map((line, i) => (
              <div key={`${line.seq}:${first + i}`} className={classes.line} data-level={line.level}>
                <time>{clock(line.time)}</time>
                <span>{highlighted(line.message, needle.trim())}</span>
              </div>
            ))}
          </div>
        </div>
      </div>
      {!isFollowing && (
        <Button className={classes.jump} size="compact-sm" leftSection={<Icon name="arrowDown" size={13} />} onClick={() => setFollowing(true)}>
          Newest
        </Button>
      )}
    </div>
  );
}

function highlighted(text: string, needle: string) {
  const at = needle ? text.toLowerCase().indexOf(needle.toLowerCase()) : -1;
  if (at < 0) return text;
  return (
    <>
      {text.slice(0, at)}
      <mark>{text.slice(at, at + needle.length)}</mark>
      {text.slice(at + needle.length)}
    </>
  );
}
