import { createContext, useContext } from "react";
import type { Json, JsonObject } from "~/api/model";
import type { RootSchema } from "~/form/schema";

export interface Form {
  root: RootSchema;
  value: JsonObject;
  /** The same value with every default instead. */
  usual: JsonObject;
  set: (path: string, next: Json) => void;
  /** What is wrong, by dotted path. */
  errors: ReadonlyMap<string, string>;
  /** Names to choose from for fields that refer to things on the platform. */
  suggestions: Readonly<Record<string, readonly { value: string; label: string }[]>>;
}

export const FormContext = createContext<Form | null>(null);

export function useForm(): Form {
  const form = useContext(FormContext);
  if (!form) throw new Error("a form field outside of a form");
  return form;
}

/** `learning_rate` as people write it. */
export function titled(name: string): string {
  const words = name.replaceAll("_", " ");
  const known: Record<string, string> = { ema: "EMA", beta1: "β₁", beta2: "β₂", "data seed": "Data seed" };
  return known[words] ?? words.charAt(0).toUpperCase() + words.slice(1);
}
