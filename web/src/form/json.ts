/** Small operations on JSON data by dotted path. */
import type { Json, JsonObject } from "~/api/model";

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function getAt(value: Json | undefined, path: string): Json | undefined {
  return path.split(".").reduce<Json | undefined>((held, name) => (isObject(held) ? held[name] : undefined), value);
}

/** A copy with one value replaced. */
export function setAt(value: JsonObject, path: string, next: Json): JsonObject {
  const [head = "", ...rest] = path.split(".");
  if (!rest.length) return { ...value, [head]: next };
  const inner = value[head];
  return { ...value, [head]: setAt(isObject(inner) ? inner : {}, rest.join("."), next) };
}

/** Every leaf by its dotted path, as JSON text so that values compare. */
export function flatten(value: Json, prefix = ""): Map<string, string> {
  if (!isObject(value)) return new Map([[prefix, JSON.stringify(value)]]);
  return new Map(Object.entries(value).flatMap(([name, inner]) => [...flatten(inner, prefix ? `${prefix}.${name}` : name)]));
}
