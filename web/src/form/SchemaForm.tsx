import { SegmentedControl } from "@mantine/core";
import type { JsonObject } from "~/api/model";
import { titled, useForm } from "~/form/context";
import { Field } from "~/form/fields";
import { getAt, isObject } from "~/form/json";
import { blank, chosen, isNullable, variants, type Schema } from "~/form/schema";
import { Panel } from "~/ui/Panel";
import classes from "./Form.module.css";

/** The whole configuration: plain fields first, then a section for every object in it. */
export function SchemaForm() {
  const { root, value } = useForm();
  const schema = chosen(root, root, value);
  if (!schema) return null;
  const properties = Object.entries(schema.properties ?? {}).filter(([, property]) => property.const === undefined);
  const isSection = (property: Schema) => Boolean(property.$ref || property.oneOf || property.anyOf);
  return (
    <>
      <Panel title="Run">
        <Grid properties={properties.filter(([, property]) => !isSection(property))} prefix="" />
      </Panel>
      {properties
        .filter(([, property]) => isSection(property))
        .map(([name, property]) => (
          <Section key={name} path={name} schema={property} />
        ))}
    </>
  );
}

function Section({ path, schema }: { path: string; schema: Schema }) {
  const { root, value, errors } = useForm();
  const found = chosen(root, schema, getAt(value, path));
  const properties = Object.entries(found?.properties ?? {}).filter(([, property]) => property.const === undefined);
  return (
    <Panel title={titled(path)} testId={`section-${path}`}>
      {(variants(root, schema) || isNullable(schema)) && <KindChoice path={path} schema={schema} />}
      {(found?.description ?? schema.description) && <p className={classes.about}>{clean(found?.description ?? schema.description ?? "")}</p>}
      {errors.get(path) && <p className={classes.error}>{errors.get(path)}</p>}
      <Grid properties={properties} prefix={`${path}.`} />
    </Panel>
  );
}

const NOTHING = "(none)";

/** Which member of a union; a change starts it anew from its defaults. */
function KindChoice({ path, schema }: { path: string; schema: Schema }) {
  const { root, value, set } = useForm();
  const members = variants(root, schema) ?? new Map<string, Schema>();
  const held = getAt(value, path);
  const data = [...(isNullable(schema) ? [{ value: NOTHING, label: "as trained" }] : []), ...[...members.keys()].map((kind) => ({ value: kind, label: kind }))];
  const pick = (kind: string) => {
    const member = members.get(kind);
    set(path, member ? kept(blank(root, member), held) : null);
  };
  return (
    <div className={classes.kinds}>
      <SegmentedControl
        size="xs"
        data={data}
        value={isObject(held) ? String(held.kind) : NOTHING}
        onChange={pick}
        aria-label={`Kind of ${path}`}
        data-testid={`field-${path}.kind`}
      />
    </div>
  );
}

/** What both kinds know keeps its value: switching between the LASER stores keeps a patience that was set. */
function kept(start: JsonObject, old: unknown): JsonObject {
  const before = (typeof old === "object" && old !== null ? old : {}) as JsonObject;
  const shared = ["patience", "update_every", "adapt", "rank", "augment"].filter((name) => name in start && name in before);
  return { ...start, ...Object.fromEntries(shared.map((name) => [name, before[name] ?? null])) };
}

function Grid({ properties, prefix }: { properties: readonly (readonly [string, Schema])[]; prefix: string }) {
  return (
    <div className={classes.grid}>
      {properties.map(([name, property]) => (
        <Field key={prefix + name} path={prefix + name} schema={property} />
      ))}
    </div>
  );
}

/** Docstrings mark code with two backticks. */
function clean(text: string): string {
  return text.replaceAll("``", "");
}
