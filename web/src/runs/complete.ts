/** What a filter box offers at the caret. The language itself is the server's (docs/filter.md); this knows its outline. */
import type { FilterFields } from "~/api/model";

export interface Offer {
  /** What takes the place of the text from ``from`` to the caret. */
  text: string;
  help: string;
}

export interface Completion {
  from: number;
  offers: Offer[];
}

const MOST = 12;
const NOTHING: Completion = { from: 0, offers: [] };

/** Names of fields, or values behind an operator; nothing inside quotes or for a plain word that begins no field. */
export function complete(text: string, caret: number, known: FilterFields | undefined): Completion {
  if (!known) return NOTHING;
  const before = text.slice(0, caret);
  if ((before.match(/(?<!\\)"/g) ?? []).length % 2) return NOTHING;
  const token = /[^\s()]*$/.exec(before)?.[0].replace(/^-/, "") ?? "";
  const compared = /^([A-Za-z_][\w./-]*)(!?[:=~]|[<>]=?)(.*)$/.exec(token);
  if (!compared) return names(token, caret - token.length, known);
  const [, name = "", operator = "", rest = ""] = compared;
  const typed = /[^,]*$/.exec(rest)?.[0] ?? "";
  const field = known.fields.find((each) => each.name === name);
  const values = name === "tag" ? known.tags : /[<>~]/.test(operator) && field?.kind !== "time" ? [] : (field?.values ?? []);
  const offers = values.filter((value) => value !== typed && contains(value, typed));
  return { from: caret - typed.length, offers: offers.slice(0, MOST).map((value) => ({ text: quoted(value), help: "" })) };
}

function names(typed: string, from: number, known: FilterFields): Completion {
  const deep = /^(config|metric)\b/.test(typed);
  const fields = known.fields.filter((field) => deep || !field.name.startsWith("config."));
  const all: Offer[] = [
    ...fields.map(({ name, kind, help }) => ({ text: name + (["choice", "text"].includes(kind) ? ":" : ""), help })),
    ...known.metrics.map((key) => ({ text: `metric.${key}`, help: "Newest value" })),
  ];
  const more = [{ text: "config.", help: "A value of the configuration" }];
  const [, head = "", tail = typed] = /^(config\.|metric\.)(.*)$/.exec(typed) ?? [];
  const fits = ({ text }: Offer) => text !== typed && text.startsWith(head) && contains(text.slice(head.length), tail);
  const fitting = (deep ? all : [...all, ...more]).filter(fits);
  const isFirst = (offer: Offer) => (offer.text.toLowerCase().startsWith(typed.toLowerCase()) ? 0 : 1);
  return { from, offers: fitting.sort((a, b) => isFirst(a) - isFirst(b)).slice(0, MOST) };
}

const contains = (text: string, part: string) => text.toLowerCase().includes(part.replace(/^"/, "").toLowerCase());

/** As a value of the filter language. */
export const quoted = (value: string) => (/[\s(),"*]/.test(value) ? `"${value.replace(/(["\\])/g, "\\$1")}"` : value);
