import { SegmentedControl } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { stringify } from "yaml";
import type { Json, JsonObject, Run } from "~/api/model";
import { environmentsQuery, schemaQuery } from "~/api/queries";
import { flatten, isObject } from "~/form/json";
import { Changes, checkoutWords } from "~/run/Changes";
import { defaultsFor } from "~/form/schema";
import { Copy } from "~/ui/Copy";
import { Panel } from "~/ui/Panel";
import classes from "./ConfigTab.module.css";

type View = "readable" | "yaml" | "json";

export default function ConfigTab({ run }: { run: Run }) {
  return (
    <div style={{ display: "grid", gap: 14 }}>
      <Configuration run={run} />
      <RanWith run={run} />
    </div>
  );
}

function Configuration({ run }: { run: Run }) {
  const [view, setView] = useState<View>("readable");
  const text = view === "json" ? JSON.stringify(run.config, null, 2) : stringify(run.config);
  return (
    <Panel
      title="Configuration"
      aside={
        <>
          <span className="mono faint" title={`sha256 of the configuration: ${run.config_hash}`}>
            {run.config_hash.slice(0, 12)}
          </span>
          <SegmentedControl
            size="xs"
            value={view}
            onChange={(next) => setView(next as View)}
            data={[
              { value: "readable", label: "Readable" },
              { value: "yaml", label: "YAML" },
              { value: "json", label: "JSON" },
            ]}
            aria-label="How to show it"
          />
          <Copy text={text} label={`Copy as ${view === "json" ? "JSON" : "YAML"}`} />
        </>
      }
    >
      {view === "readable" ? <Readable config={run.config} /> : <pre className={classes.code} data-testid="config-text">{text}</pre>}
    </Panel>
  );
}

/** What decides the numbers beside the configuration, so that the run can be had again. */
function RanWith({ run }: { run: Run }) {
  const { data } = useQuery(environmentsQuery(run.id));
  const attempts = data?.items ?? [];
  const newest = attempts.at(-1);
  const { checkout } = run;
  if (!newest && !checkout) return null;
  const rows: [string, Json][] = [["seed", run.seed]];
  if (newest) rows.push(["device", newest.device], ["attempt", newest.epoch]);
  if (checkout) rows.push(["submitted from", checkoutWords(checkout)]);
  return (
    <Panel title="Ran with" aside={<code className="mono faint">laser reproduce {run.id}</code>}>
      <div className={classes.sections} data-testid="ran-with">
        <Section title="run" rows={rows} prefix="" usual={null} />
        {newest && <Section title="versions" rows={Object.entries(newest.versions)} prefix="" usual={null} />}
        {newest && <Section title="environment" rows={Object.entries(newest.environment)} prefix="" usual={null} />}
      </div>
      {checkout && <Changes run={run} checkout={checkout} />}
    </Panel>
  );
}

/** Sections side by side; what differs from the defaults stands out. */
function Readable({ config }: { config: JsonObject }) {
  const { data: schema } = useQuery(schemaQuery());
  const usual = schema ? flatten(defaultsFor(schema, config)) : null;
  const plain = Object.entries(config).filter(([, value]) => !isObject(value));
  const nested = Object.entries(config).flatMap(([name, value]) => (isObject(value) ? [[name, value] as const] : []));
  return (
    <div className={classes.sections}>
      <Section title="run" rows={plain} prefix="" usual={usual} />
      {nested.map(([name, value]) => (
        <Section key={name} title={name} rows={Object.entries(value)} prefix={`${name}.`} usual={usual} />
      ))}
    </div>
  );
}

interface SectionProps {
  title: string;
  rows: readonly (readonly [string, Json])[];
  prefix: string;
  usual: ReadonlyMap<string, string> | null;
}

function Section({ title, rows, prefix, usual }: SectionProps) {
  return (
    <section>
      <h3 className={classes.heading}>{title}</h3>
      <dl className={classes.rows}>
        {rows.map(([name, value]) => {
          const text = shown(value);
          const standard = usual?.get(prefix + name);
          const isChanged = standard !== undefined && standard !== JSON.stringify(value);
          return (
            <div key={name} data-changed={isChanged || undefined} title={isChanged ? `default: ${standard}` : undefined}>
              <dt>{name}</dt>
              <dd className="mono num">{text}</dd>
            </div>
          );
        })}
      </dl>
    </section>
  );
}

function shown(value: Json): string {
  if (Array.isArray(value)) return value.length ? value.map(shown).join(", ") : "–";
  return value === "" || value === null ? "–" : String(value);
}
