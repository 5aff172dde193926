import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { eagerBytes, exactAccuracy, isFinal, kindWord, savedBytes, savedFraction, stepTime, type Run, type WaitingRun } from "~/api/model";
import { queueQuery, workersQuery } from "~/api/queries";
import type { Connection } from "~/api/stream";
import { Note } from "~/run/Note";
import { RunActions } from "~/run/RunActions";
import { TagEditor } from "~/run/TagEditor";
import { LiveDot } from "~/shell/ConnectionBanner";
import { Ago } from "~/ui/Ago";
import { Copy } from "~/ui/Copy";
import { bytes, duration, percent, seconds } from "~/ui/format";
import { Icon } from "~/ui/icons";
import { useTitle } from "~/ui/PageHead";
import { Progress } from "~/ui/Progress";
import { StateBadge } from "~/ui/StateBadge";
import { Variant } from "~/ui/variants";
import { priorityWords, startWords } from "~/workers/QueuePanels";
import classes from "./RunHeader.module.css";

export function RunHeader({ run, connection }: { run: Run; connection: Connection }) {
  useTitle(run.name);
  return (
    <header className={classes.header}>
      <nav className={classes.crumbs} aria-label="Breadcrumb">
        <Link to="/" className="plain-link">
          Runs
        </Link>
        <Icon name="chevron" size={12} />
        <span className="num">#{run.number}</span>
        <span className="mono faint">{run.id}</span>
        <Copy text={run.id} label="Copy the run’s id" />
      </nav>
      <div className={classes.top}>
        <h1 className={classes.title} data-testid="run-name">
          {run.name}
        </h1>
        <RunActions run={run} />
      </div>
      <div className={classes.meta}>
        <StateBadge state={run.state} reason={run.reason} />
        {!isFinal(run.state) && <LiveDot connection={connection} />}
        {run.kind === "train" ? <Variant store={run.store_kind} /> : <span>{kindWord(run.kind)}</span>}
        <span className="muted num">seed {run.seed}</span>
        <span className="muted">
          created <Ago time={run.created_at} />
        </span>
        {run.attempt > 1 && <span className="muted num">attempt {run.attempt}</span>}
        {askedWords(run) && <span className="muted">{askedWords(run)}</span>}
        <span className={classes.tags}>
          <TagEditor run={run} />
        </span>
      </div>
      <Why run={run} />
      <Note run={run} />
      <dl className={classes.facts}>
        <div className={classes.wide}>
          <dt className="visually-hidden">Progress</dt>
          <dd>
            <Progress run={run} wide />
          </dd>
        </div>
        {run.kind !== "analysis" && (
          <Fact label="Exact accuracy" testId="fact-accuracy">
            {percent(exactAccuracy(run))}
          </Fact>
        )}
        {run.kind === "train" && (
          <Fact label="Activation memory" hint={memoryHint(run)}>
            {memoryWords(run)}
          </Fact>
        )}
        {run.kind === "train" && <Fact label="Step time">{seconds(stepTime(run))}</Fact>}
        <Fact label={run.finished_at ? "Took" : "Running for"}>{tookWords(run)}</Fact>
      </dl>
    </header>
  );
}

function Fact({ label, hint, testId, children }: { label: string; hint?: string; testId?: string; children: ReactNode }) {
  return (
    <div className={classes.fact} title={hint}>
      <dt>{label}</dt>
      <dd className="num" data-testid={testId}>
        {children}
      </dd>
    </div>
  );
}

/** Why it failed, or why it waits. */
function Why({ run }: { run: Run }) {
  const { data: workers } = useQuery({ ...workersQuery(), enabled: run.state === "queued" });
  const isUnmanned = run.state === "queued" && workers !== undefined && !workers.items.some((worker) => worker.alive);
  const { data: queue } = useQuery({ ...queueQuery(run.id), enabled: run.state === "queued" && !isUnmanned });
  const waiting = queue?.items[0];
  const text = isUnmanned
    ? "No worker is alive, so nobody will take this run. “laser up” starts one."
    : run.state === "queued"
      ? [run.reason, waiting ? placeWords(waiting, queue.total) : "Waits for a free worker slot."].filter(Boolean).join(" · ")
      : run.reason;
  if (!text || run.state === "succeeded") return null;
  const tone = run.state === "failed" ? "bad" : isUnmanned ? "warn" : "plain";
  return (
    <div className={classes.why} data-tone={tone} data-testid="run-reason" role={tone === "bad" ? "alert" : undefined}>
      <Icon name={tone === "plain" ? "info" : "warning"} />
      <span title={waiting && priorityWords(waiting)}>{text}</span>
    </div>
  );
}

/** How it asked to be carried out, where that isn't the usual. */
function askedWords(run: Run): string {
  const words = [
    run.priority !== "normal" && `band ${run.priority}`,
    run.pool && `pool ${run.pool}`,
    run.gpus > 1 && `${run.gpus} GPUs`,
    run.time_limit_s !== null && `${duration(run.time_limit_s)} at most`,
    run.memory_asked !== null && `${bytes(run.memory_asked)} of memory${run.gpus > 1 ? " each" : ""}`,
    run.after.length > 0 && `after ${run.after.join(", ")}`,
  ];
  return words.filter(Boolean).join(" · ");
}

function placeWords(waiting: WaitingRun, total: number): string {
  if (waiting.position === null) return `Can’t start yet: ${waiting.reason}`;
  const place = `${waiting.position} of ${total} in the queue (band ${waiting.band}, priority ${waiting.priority.toFixed(3)})`;
  const start = waiting.starts_in_s === null ? "when it starts isn’t known yet" : `starts ${startWords(waiting)}`;
  return `${place}: ${waiting.reason}; ${start}`;
}

function memoryWords(run: Run): string {
  const fraction = savedFraction(run);
  if (fraction === null) return "–";
  return fraction >= 0.9995 ? "as eager" : `−${percent(1 - fraction)}`;
}

function memoryHint(run: Run): string {
  return `${bytes(savedBytes(run))} held for backward; eager training holds ${bytes(eagerBytes(run))}`;
}

function tookWords(run: Run): ReactNode {
  if (!run.started_at) return "–";
  if (run.finished_at) return duration(run.finished_at - run.started_at);
  return duration(Math.max(0, run.updated_at - run.started_at));
}
