/** One input per kind of value in the schema. */
import { ActionIcon, Autocomplete, Select, Switch, TagsInput, TextInput, Tooltip } from "@mantine/core";
import { useState } from "react";
import type { Json } from "~/api/model";
import { titled, useForm } from "~/form/context";
import { getAt } from "~/form/json";
import { boundsOf, type Schema } from "~/form/schema";
import { Icon } from "~/ui/icons";
import classes from "./Form.module.css";

interface FieldProps {
  path: string;
  schema: Schema;
}

export function Field({ path, schema }: FieldProps) {
  const { suggestions } = useForm();
  if (schema.enum) return <ChoiceField path={path} schema={schema} />;
  if (schema.type === "boolean") return <SwitchField path={path} schema={schema} />;
  if (schema.type === "array") return <ListField path={path} schema={schema} />;
  if (schema.type === "integer" || schema.type === "number") return <NumberField path={path} schema={schema} />;
  return suggestions[path] ? <NameField path={path} schema={schema} /> : <TextField path={path} schema={schema} />;
}

function useField({ path, schema }: FieldProps) {
  const form = useForm();
  const value = getAt(form.value, path);
  const usual = getAt(form.usual, path);
  const isChanged = usual !== undefined && value !== undefined && JSON.stringify(value) !== JSON.stringify(usual);
  const set = (next: Json) => form.set(path, next);
  const label = <Label path={path} isChanged={isChanged} reset={() => usual !== undefined && set(usual)} />;
  return {
    value,
    set,
    props: {
      id: `field-${path}`,
      label,
      description: schema.description,
      error: form.errors.get(path),
      "data-testid": `field-${path}`,
      inputWrapperOrder: ["label", "input", "error", "description"] as ("label" | "input" | "error" | "description")[],
    },
  };
}

function Label({ path, isChanged, reset }: { path: string; isChanged: boolean; reset: () => void }) {
  return (
    <span className={classes.label}>
      {titled(path.split(".").at(-1) ?? path)}
      {isChanged && (
        <Tooltip label="Changed; click for the default">
          <ActionIcon
            size={16}
            variant="subtle"
            aria-label={`Reset ${titled(path.split(".").at(-1) ?? path)} to its default`}
            onClick={(event) => {
              event.preventDefault();
              reset();
            }}
          >
            <Icon name="reset" size={11} />
          </ActionIcon>
        </Tooltip>
      )}
    </span>
  );
}

function TextField(field: FieldProps) {
  const { value, set, props } = useField(field);
  return <TextInput {...props} value={typeof value === "string" ? value : ""} onChange={(event) => set(event.currentTarget.value)} />;
}

/** A name of something on the platform: typed, or picked from what is there. */
function NameField(field: FieldProps) {
  const { value, set, props } = useField(field);
  const options = useForm().suggestions[field.path] ?? [];
  const labels = new Map(options.map((option) => [option.value, option.label]));
  return (
    <Autocomplete
      {...props}
      data={options.map((option) => option.value)}
      value={typeof value === "string" ? value : ""}
      onChange={set}
      renderOption={({ option }) => (
        <span className={classes.suggestion}>
          <span className="truncate">{labels.get(option.value)}</span>
          <span className="mono faint">{option.value}</span>
        </span>
      )}
      filter={({ options: all, search }) =>
        all.filter((option) => "value" in option && `${option.value} ${labels.get(option.value)}`.toLowerCase().includes(search.toLowerCase()))
      }
    />
  );
}

/** Keeps what was typed while it is no number yet, such as "1e-" on the way to 1e-4. */
function NumberField(field: FieldProps) {
  const { value, set, props } = useField(field);
  const [draft, setDraft] = useState<string | null>(null);
  const parse = (text: string): Json => (text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text);
  const shown = draft !== null && parse(draft) === value ? draft : String(value ?? "");
  return (
    <TextInput
      {...props}
      inputMode="decimal"
      autoComplete="off"
      className="num"
      value={shown}
      onChange={(event) => {
        setDraft(event.currentTarget.value);
        set(parse(event.currentTarget.value));
      }}
      rightSection={<span className={`${classes.bounds} num`}>{boundsOf(field.schema)}</span>}
      rightSectionWidth={boundsOf(field.schema).length * 6.6 + 16}
      rightSectionPointerEvents="none"
    />
  );
}

function SwitchField(field: FieldProps) {
  const { value, set, props } = useField(field);
  return (
    <div className={classes.switch}>
      <Switch
        id={props.id}
        label={props.label}
        description={props.description}
        error={props.error}
        data-testid={props["data-testid"]}
        checked={value === true}
        onChange={(event) => set(event.currentTarget.checked)}
      />
    </div>
  );
}

function ChoiceField(field: FieldProps) {
  const { value, set, props } = useField(field);
  const choices = field.schema.enum ?? [];
  return (
    <Select
      {...props}
      allowDeselect={false}
      data={choices.map(String)}
      value={value === undefined || value === null ? null : String(value)}
      onChange={(picked) => set(choices.find((choice) => String(choice) === picked) ?? null)}
    />
  );
}

function ListField(field: FieldProps) {
  const { value, set, props } = useField(field);
  return (
    <TagsInput
      {...props}
      placeholder="Type and press Enter"
      value={Array.isArray(value) ? value.map(String) : []}
      onChange={(next) => set(next)}
    />
  );
}
