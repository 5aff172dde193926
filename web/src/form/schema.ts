/** What the form needs to know of JSON Schema: references, unions told apart by ``kind``, defaults, limits. */
import type { Json, JsonObject, Problem } from "~/api/model";
import { isObject } from "~/form/json";

export interface Schema {
  $ref?: string;
  type?: "object" | "array" | "string" | "integer" | "number" | "boolean" | "null";
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  oneOf?: Schema[];
  anyOf?: Schema[];
  discriminator?: { propertyName: string; mapping: Record<string, string> };
  const?: Json;
  enum?: Json[];
  default?: Json;
  description?: string;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  minLength?: number;
  maxLength?: number;
  maxItems?: number;
}

export interface RootSchema extends Schema {
  $defs: Record<string, Schema>;
}

/** The schema a reference stands for; the place's own words and default win over the definition's. */
export function resolve(root: RootSchema, schema: Schema): Schema {
  if (!schema.$ref) return schema;
  const { $ref, ...own } = schema;
  return { ...root.$defs[$ref.split("/").at(-1) ?? ""], ...own };
}

/** The members of a union by their kind; null for what is no union. */
export function variants(root: RootSchema, schema: Schema): Map<string, Schema> | null {
  const union = unionOf(schema);
  if (!union) return null;
  return new Map(
    union.flatMap((member) => {
      const found = resolve(root, member);
      const kind = found.properties?.kind?.const;
      return typeof kind === "string" ? [[kind, found] as const] : [];
    }),
  );
}

/** ``X | null`` is written as anyOf. */
export function isNullable(schema: Schema): boolean {
  return schema.anyOf?.some((member) => member.type === "null") ?? false;
}

function unionOf(schema: Schema): Schema[] | null {
  if (schema.oneOf) return schema.oneOf;
  const members = schema.anyOf?.filter((member) => member.type !== "null");
  if (!members) return null;
  return members.flatMap((member) => member.oneOf ?? [member]);
}

/** The definition in force for a value: of a union the member that its ``kind`` names. */
export function chosen(root: RootSchema, schema: Schema, value: Json | undefined): Schema | null {
  const members = variants(root, schema);
  if (!members) return resolve(root, schema);
  return (isObject(value) ? members.get(String(value.kind)) : undefined) ?? null;
}

/** An object with every default in it; ``given`` decides which members of unions are taken. */
export function defaultsFor(root: RootSchema, given: JsonObject): JsonObject {
  const schema = chosen(root, root, given);
  return schema ? fill(root, schema, given, false) : {};
}

/** The same, with what is given kept. */
export function completed(root: RootSchema, given: JsonObject): JsonObject {
  const schema = chosen(root, root, given);
  return schema ? fill(root, schema, given, true) : given;
}

function fill(root: RootSchema, schema: Schema, given: JsonObject, keep: boolean): JsonObject {
  const filled: JsonObject = {};
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    const value = given[name];
    const inner = chosen(root, property, value ?? property.default);
    if (value === undefined && property.default === undefined) filled[name] = property.type === "array" ? [] : "";
    else if (inner?.type === "object" && (value ?? property.default) !== null)
      filled[name] = fill(root, inner, isObject(value) ? value : isObject(property.default ?? null) ? (property.default as JsonObject) : {}, keep);
    else filled[name] = keep && value !== undefined ? value : (property.const ?? property.default ?? value ?? null);
    if (property.const !== undefined) filled[name] = property.const;
  }
  if (keep) for (const [name, value] of Object.entries(given)) if (!(name in filled)) filled[name] = value;
  return filled;
}

/** The bare start of a union's member. */
export function blank(root: RootSchema, member: Schema): JsonObject {
  return fill(root, member, {}, false);
}

/** What breaks the schema's limits, by dotted path; the server has the last word. */
export function problemsOf(root: RootSchema, value: JsonObject): Problem[] {
  const schema = chosen(root, root, value);
  if (!schema) return [{ field: "kind", message: "expected train, eval, analysis or inspect" }];
  return objectProblems(root, schema, value, "");
}

function objectProblems(root: RootSchema, schema: Schema, value: JsonObject, prefix: string): Problem[] {
  const properties = schema.properties ?? {};
  const unknown = Object.keys(value).filter((name) => !(name in properties));
  return [
    ...unknown.map((name) => ({ field: prefix + name, message: "unknown field" })),
    ...Object.entries(properties).flatMap(([name, property]) => {
      const isMissing = (schema.required?.includes(name) ?? false) && (value[name] === undefined || value[name] === "");
      if (isMissing) return [{ field: prefix + name, message: "is required" }];
      return value[name] === undefined ? [] : valueProblems(root, property, value[name], prefix + name);
    }),
  ];
}

function valueProblems(root: RootSchema, schema: Schema, value: Json, field: string): Problem[] {
  if (value === null && isNullable(schema)) return [];
  const found = chosen(root, schema, value);
  if (!found) return [{ field: `${field}.kind`, message: `expected one of ${[...(variants(root, schema)?.keys() ?? [])].join(", ")}` }];
  if (found.type === "object") return isObject(value) ? objectProblems(root, found, value, `${field}.`) : [{ field, message: "expected an object" }];
  const message = scalarProblem(found, value);
  return message ? [{ field, message }] : [];
}

function scalarProblem(schema: Schema, value: Json): string | null {
  if (schema.enum && !schema.enum.includes(value)) return `expected one of ${schema.enum.join(", ")}`;
  if (schema.type === "integer" || schema.type === "number") return numberProblem(schema, value);
  if (schema.type === "boolean" && typeof value !== "boolean") return "expected true or false";
  if (schema.type === "string") {
    if (typeof value !== "string") return "expected text";
    if (schema.maxLength !== undefined && value.length > schema.maxLength) return `expected at most ${schema.maxLength} characters, got ${value.length}`;
  }
  return schema.type === "array" ? arrayProblem(schema, value) : null;
}

function arrayProblem(schema: Schema, value: Json): string | null {
  if (!Array.isArray(value)) return "expected a list";
  if (schema.maxItems !== undefined && value.length > schema.maxItems) return `expected at most ${schema.maxItems}, got ${value.length}`;
  const most = schema.items?.maxLength ?? Infinity;
  return value.some((item) => typeof item !== "string" || !item || item.length > most) ? `each must have 1 to ${most} characters` : null;
}

function numberProblem(schema: Schema, value: Json): string | null {
  if (typeof value !== "number" || !Number.isFinite(value)) return "expected a number";
  if (schema.type === "integer" && !Number.isInteger(value)) return "expected a whole number";
  if (schema.minimum !== undefined && value < schema.minimum) return `expected at least ${schema.minimum}`;
  if (schema.exclusiveMinimum !== undefined && value <= schema.exclusiveMinimum) return `expected more than ${schema.exclusiveMinimum}`;
  if (schema.maximum !== undefined && value > schema.maximum) return `expected at most ${schema.maximum}`;
  if (schema.exclusiveMaximum !== undefined && value >= schema.exclusiveMaximum) return `expected less than ${schema.exclusiveMaximum}`;
  return null;
}

/** "1 … 4,096" beside a number's field. */
export function boundsOf(schema: Schema): string {
  const low = schema.minimum ?? schema.exclusiveMinimum;
  const high = schema.maximum ?? schema.exclusiveMaximum;
  const words = (n: number) => (n >= 1e6 ? n.toExponential(0).replace("e+", "e") : n.toLocaleString("en-US"));
  if (low !== undefined && high !== undefined) return `${schema.minimum === undefined ? ">" : ""}${words(low)} … ${schema.maximum === undefined ? "<" : ""}${words(high)}`;
  if (low !== undefined) return `${schema.minimum === undefined ? ">" : "≥"} ${words(low)}`;
  return high !== undefined ? `${schema.maximum === undefined ? "<" : "≤"} ${words(high)}` : "";
}
