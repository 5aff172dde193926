import { Button, Skeleton } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useMemo, useRef, useState } from "react";
import { stringify } from "yaml";
import { ReadOnlyPage, useReadOnly } from "~/account/ReadOnly";
import { ApiError, messageOf } from "~/api/client";
import type { Estimate, JsonObject } from "~/api/model";
import { experimentQuery } from "~/api/queries";
import { createExperiment, estimateExperiment } from "~/experiments/actions";
import { EXAMPLE } from "~/experiments/example";
import { readText } from "~/form/useConfig";
import { sweepRoute } from "~/router";
import { Command, Copy } from "~/ui/Copy";
import { Failure } from "~/ui/Empty";
import { bytes, duration } from "~/ui/format";
import { PageHead } from "~/ui/PageHead";
import { Panel } from "~/ui/Panel";
import { failed, succeeded } from "~/ui/toast";
import classes from "./Experiments.module.css";

export function SweepPage() {
  const { from } = sweepRoute.useSearch();
  const readOnly = useReadOnly();
  const source = useQuery({ ...experimentQuery(from ?? ""), enabled: from !== undefined });
  if (readOnly) return <ReadOnlyPage title="New sweep" why={readOnly} />;
  if (source.isError) return <Failure error={source.error} retry={() => void source.refetch()} />;
  if (from !== undefined && !source.data) return <Skeleton height={480} radius="lg" />;
  return <Editor key={from} start={source.data ? stringify(source.data.experiment.config) : EXAMPLE} />;
}

/** The experiment as a file, with what it would take beside it. */
function Editor({ start }: { start: string }) {
  const [text, setText] = useState(start);
  const read = useMemo(() => readText(text), [text]);
  const isText = typeof read === "string";
  const [settled] = useDebouncedValue(text, 500);
  const estimate = useQuery({
    queryKey: ["estimate", settled],
    queryFn: ({ signal }) => estimateExperiment(readText(settled) as JsonObject, signal),
    enabled: !isText && settled === text,
    retry: false,
  });
  const submit = useSubmit();
  const isKnown = settled === text && !isText;
  const problems = isText ? [read] : isKnown && estimate.error ? told(estimate.error) : [];
  return (
    <>
      <PageHead title="New sweep" sub="Variants, seeds and a margin make an experiment; all its runs are queued at once." />
      <form
        className={classes.editor}
        onSubmit={(event) => {
          event.preventDefault();
          if (!isText) submit.mutate(read);
        }}
      >
        <Panel flush title="As a file" aside={<Copy text={text} />}>
          <textarea
            className={classes.code}
            spellCheck={false}
            aria-label="Experiment as text"
            value={text}
            onChange={(event) => setText(event.currentTarget.value)}
            data-testid="sweep-editor"
          />
          <div style={{ padding: "10px 14px 14px", borderTop: "1px solid var(--line)" }}>
            <Command text="laser experiment submit FILE.yaml --wait" />
          </div>
        </Panel>
        <div className={classes.side}>
          <Panel title="What it would take" testId="estimate">
            {problems.length > 0 ? (
              <ul className={classes.problems} role="alert" data-testid="sweep-problems">
                {problems.map((line) => (
                  <li key={line}>{line}</li>
                ))}
              </ul>
            ) : isKnown && estimate.data ? (
              <Cost estimate={estimate.data} />
            ) : (
              <Skeleton height={120} radius="md" />
            )}
          </Panel>
          <Panel>
            <Button type="submit" size="md" fullWidth loading={submit.isPending} disabled={!isKnown || !estimate.data} data-testid="submit">
              {isKnown && estimate.data ? `Queue ${estimate.data.runs} runs` : "Queue the runs"}
            </Button>
            <p className={classes.note} style={{ marginTop: 10 }}>
              The margin is kept as it is written here: it can’t be changed once the runs are made.
            </p>
          </Panel>
        </div>
      </form>
    </>
  );
}

function Cost({ estimate }: { estimate: Estimate }) {
  return (
    <>
      <p className={`${classes.big} num`} style={{ margin: 0 }}>
        {estimate.runs} runs{estimate.duration_s === null ? "" : `, about ${duration(estimate.duration_s)}`}
      </p>
      <p className={classes.note} style={{ margin: "2px 0 10px" }}>
        {words(estimate)}
      </p>
      <div className={classes.scroll} style={{ maxHeight: 300, overflowY: "auto" }} tabIndex={0} role="region" aria-label="Runs of the sweep">
        <table className={`${classes.table} num`}>
          <thead>
            <tr>
              <th>Group</th>
              <th>Runs</th>
              <th title="What a run asks of its device’s memory, by its configuration">At start</th>
              <th>Activations</th>
              <th>A run</th>
            </tr>
          </thead>
          <tbody>
            {estimate.groups.map((group) => (
              <tr key={group.variant + group.point} title={group.basis}>
                <td>{[group.variant, group.point].filter(Boolean).join(" · ")}</td>
                <td>{group.runs}</td>
                <td>{bytes(group.start_bytes)}</td>
                <td>{bytes(group.saved_bytes)}</td>
                <td>{duration(group.run_s)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

function words({ slots, work_s: work, groups }: Estimate): string {
  if (work === null) return "How long they take isn’t known: no finished run is like them.";
  const from = groups.every((group) => group.basis === "runs alike") ? "measured on runs like these" : "scaled from other runs";
  return `${duration(work)} of one slot, ${from}; ${slots ? `${slots} ${slots === 1 ? "slot is" : "slots are"} alive` : "no worker is alive"}.`;
}

function told(error: unknown): string[] {
  if (error instanceof ApiError && error.errors.length) return error.errors.map((e) => (e.field ? `${e.field}: ${e.message}` : e.message));
  return [messageOf(error)];
}

/** The same text sent twice in a row is one experiment: the key stays until it is accepted. */
function useSubmit() {
  const client = useQueryClient();
  const navigate = useNavigate();
  const key = useRef({ text: "", id: "" });
  return useMutation({
    mutationFn: (config: JsonObject) => {
      const text = JSON.stringify(config);
      if (key.current.text !== text) key.current = { text, id: crypto.getRandomValues(new Uint32Array(4)).join("-") };
      return createExperiment(config, key.current.id);
    },
    onSuccess: async (made) => {
      key.current = { text: "", id: "" };
      void client.invalidateQueries({ queryKey: ["experiments"] });
      void client.invalidateQueries({ queryKey: ["runs"] });
      succeeded(`Queued ${made.runs} runs`);
      await navigate({ to: "/experiments/$id", params: { id: made.id } });
    },
    onError: failed,
  });
}
