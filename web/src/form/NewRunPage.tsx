import { SegmentedControl, Skeleton } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { useMemo, useRef, useState } from "react";
import { ReadOnlyPage, useReadOnly } from "~/account/ReadOnly";
import { ApiError } from "~/api/client";
import type { JsonObject, Preset } from "~/api/model";
import { datasetsQuery, presetsQuery, runQuery, schemaQuery, someRunsQuery } from "~/api/queries";
import { AskedFields } from "~/form/AskedFields";
import { ConfigText } from "~/form/ConfigText";
import { FormContext, type Form } from "~/form/context";
import { chosen, type RootSchema } from "~/form/schema";
import { SchemaForm } from "~/form/SchemaForm";
import { SubmitPanel } from "~/form/SubmitPanel";
import { useConfig } from "~/form/useConfig";
import { newRoute } from "~/router";
import { ASKED, createRun, type Asked } from "~/run/actions";
import { Failure } from "~/ui/Empty";
import { PageHead } from "~/ui/PageHead";
import { failed, succeeded } from "~/ui/toast";
import classes from "./Form.module.css";

export function NewRunPage() {
  const { from, preset } = newRoute.useSearch();
  const readOnly = useReadOnly();
  const schema = useQuery(schemaQuery());
  const presets = useQuery(presetsQuery());
  const source = useQuery({ ...runQuery(from ?? ""), enabled: from !== undefined });
  const failure = schema.error ?? source.error;
  if (readOnly) return <ReadOnlyPage title="New run" why={readOnly} />;
  if (failure) return <Failure error={failure} retry={() => void schema.refetch()} />;
  if (!schema.data || presets.isPending || (from && !source.data)) return <Skeleton height={480} radius="lg" />;
  const named = presets.data?.find(({ name }) => name === preset) ?? presets.data?.[0];
  const start = source.data?.config ?? named?.config ?? { kind: "train" };
  return <Editor key={`${from}:${preset}`} root={schema.data} start={start} presets={presets.data ?? []} origin={source.data?.name} />;
}

interface EditorProps {
  root: RootSchema;
  start: JsonObject;
  presets: readonly Preset[];
  origin: string | undefined;
}

function Editor({ root, start, presets, origin }: EditorProps) {
  const config = useConfig(root, start);
  const [asked, setAsked] = useState(ASKED);
  const submit = useSubmit(config.value, asked, config.refuse);
  const suggestions = useSuggestions();
  const form: Form = { root, suggestions, value: config.value, usual: config.usual, set: config.set, errors: config.errors };
  const kinds = Object.keys(root.discriminator?.mapping ?? {});
  return (
    <FormContext.Provider value={form}>
      <PageHead title={origin ? `Clone of ${origin}` : "New run"} sub="Form and text are two views of the same configuration; edit either.">
        <SegmentedControl
          size="xs"
          data={kinds.map((kind) => ({ value: kind, label: { train: "Training", eval: "Evaluation", analysis: "Analysis", inspect: "Inspection" }[kind] ?? kind }))}
          value={String(config.value.kind)}
          onChange={(kind) => config.replace({ kind })}
          aria-label="Kind of run"
          data-testid="field-kind"
        />
      </PageHead>
      {!origin && config.value.kind === "train" && <Presets presets={presets} value={config.value} pick={config.replace} />}
      <form
        className={classes.page}
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          submit.mutate();
        }}
      >
        <div className={classes.fields}>
          <SchemaForm />
          {config.value.kind === "train" && (
            <p className={classes.note}>
              Puzzles of your own? Upload them under <Link to="/datasets">Datasets</Link>, then choose the task “csv”.
            </p>
          )}
        </div>
        <div className={classes.side}>
          <SubmitPanel problems={config.problems} isBroken={config.isBroken} isPending={submit.isPending} about={chosen(root, root, config.value)?.description}>
            <AskedFields asked={asked} change={setAsked} />
          </SubmitPanel>
          <ConfigText value={config.value} usual={config.usual} draft={config.draft} write={config.write} />
        </div>
      </form>
    </FormContext.Provider>
  );
}

function Presets({ presets, value, pick }: { presets: readonly Preset[]; value: JsonObject; pick: (config: JsonObject) => void }) {
  return (
    <div className={classes.presets} role="group" aria-label="Presets">
      {presets.map((preset) => (
        <button
          key={preset.name}
          type="button"
          className={classes.preset}
          aria-pressed={JSON.stringify(preset.config) === JSON.stringify(value)}
          onClick={() => pick(preset.config)}
          data-testid={`preset-${preset.name}`}
        >
          <b>{preset.title}</b>
          <span>{preset.description}</span>
        </button>
      ))}
    </div>
  );
}

/** Queues the run and goes to its page. The same configuration sent twice in a row is one run: the key stays until it is accepted. */
function useSubmit(value: JsonObject, asked: Asked, refuse: (problems: ApiError["errors"]) => void) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const key = useRef({ text: "", id: "" });
  return useMutation({
    mutationFn: () => {
      const text = JSON.stringify([value, asked]);
      if (key.current.text !== text) key.current = { text, id: freshKey() };
      return createRun(value, asked, key.current.id);
    },
    onSuccess: async (run) => {
      key.current = { text: "", id: "" };
      client.setQueryData(["run", run.id], run);
      void client.invalidateQueries({ queryKey: ["runs"] });
      succeeded(`Queued as #${run.number}`);
      await navigate({ to: "/runs/$id", params: { id: run.id } });
    },
    onError: (error) => {
      if (error instanceof ApiError && error.errors.length) refuse(error.errors);
      else failed(error);
    },
  });
}

function freshKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function useSuggestions(): Form["suggestions"] {
  const datasets = useQuery(datasetsQuery());
  const trained = useQuery(someRunsQuery({ kind: "train", sort: "-created" }, 50));
  return useMemo(() => {
    const files = (datasets.data?.items ?? []).map(({ name, rows, size }) => ({ value: name, label: `${rows.toLocaleString("en-US")} puzzles, ${size}×${size}` }));
    const runs = (trained.data?.items ?? []).map(({ id, name }) => ({ value: id, label: name }));
    return { "task.train": files, "task.test": files, checkpoint: runs };
  }, [datasets.data, trained.data]);
}
