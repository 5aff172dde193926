/** The configuration being written: the form and the text beside it are two views of one value. */
import { useMemo, useState } from "react";
import { parse, stringify, YAMLParseError } from "yaml";
import type { Json, JsonObject, Problem } from "~/api/model";
import { flatten, isObject, setAt } from "~/form/json";
import { completed, defaultsFor, problemsOf, type RootSchema } from "~/form/schema";

export type Notation = "yaml" | "json";

export function useConfig(root: RootSchema, start: JsonObject) {
  const [value, setValue] = useState<JsonObject>(() => completed(root, start));
  const [draft, setDraft] = useState<{ text: string; problem: string | null } | null>(null);
  const [refused, setRefused] = useState<Problem[]>([]);

  const replace = (next: JsonObject) => {
    setValue(completed(root, next));
    setDraft(null);
    setRefused([]);
  };
  const set = (path: string, next: Json) => {
    setValue((old) => setAt(old, path, next));
    setDraft(null);
    setRefused((old) => old.filter(({ field }) => field !== path && !field.startsWith(`${path}.`)));
  };
  const write = (text: string) => {
    const read = readText(text);
    setDraft({ text, problem: typeof read === "string" ? read : null });
    if (typeof read !== "string") {
      setValue(completed(root, read));
      setRefused([]);
    }
  };

  const usual = useMemo(() => defaultsFor(root, value), [root, value]);
  const broken = useMemo(() => problemsOf(root, value), [root, value]);
  const problems = [...broken, ...refused.filter(({ field }) => !broken.some((b) => b.field === field))];
  const errors = new Map(problems.map(({ field, message }) => [field, message]));
  // What the server refused may be sent again: what it refers to may be there now.
  const isBroken = broken.length > 0 || Boolean(draft?.problem);
  return { value, usual, problems, errors, isBroken, draft, set, replace, write, refuse: setRefused };
}

/** The value a text says, or what is wrong with the text. JSON is YAML too. */
export function readText(text: string): JsonObject | string {
  try {
    const read: unknown = parse(text);
    return isObject(read as Json) ? (read as JsonObject) : "Expected an object with fields such as task and store.";
  } catch (error) {
    if (error instanceof YAMLParseError) return error.message.split("\n")[0] ?? "This is no YAML.";
    throw error;
  }
}

export function write(value: JsonObject, notation: Notation): string {
  return notation === "json" ? JSON.stringify(value, null, 2) : stringify(value);
}

/** Only what differs from the defaults: what a person would have typed. */
export function essence(value: JsonObject, usual: JsonObject): JsonObject {
  const standard = flatten(usual);
  const keep = (held: JsonObject, prefix: string): JsonObject =>
    Object.fromEntries(
      Object.entries(held).flatMap(([name, inner]): [string, Json][] => {
        const path = prefix + name;
        if (!isObject(inner)) return name === "kind" || standard.get(path) !== JSON.stringify(inner) ? [[name, inner]] : [];
        const rest = keep(inner, `${path}.`);
        return Object.keys(rest).length ? [[name, rest]] : [];
      }),
    );
  return keep(value, "");
}
