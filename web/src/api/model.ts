/** The API's shapes (types.ts is generated from its schema) by the names the pages use. */
import type { components } from "~/api/types";

type Schemas = components["schemas"];

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

export type State = Schemas["State"];
export type RunSummary = Schemas["RunSummary"];
/** The form and the text work on any configuration, also one that is not valid yet. */
export type Run = Omit<Schemas["Run"], "config"> & { config: JsonObject };
export type RunPage = Schemas["RunPage"];
export type RunEvent = Schemas["Event"];
export type EventPage = Schemas["EventPage"];
export type LogLine = Schemas["LogLine"];
export type LogPage = Schemas["LogPage"];
export type Series = Schemas["Series"];
export type Metrics = Schemas["SeriesList"];
export type SiteTrace = Schemas["SiteTrace"];
export type Spectrum = Schemas["SiteSpectrum"];
export type Traces = Schemas["TraceList"];
export type SiteBytes = Schemas["SiteBytes"];
export type Inspection = Schemas["Inspection"];
export type Reading = Schemas["Reading"];
export type Place = Schemas["Place"];
export type Memory = Schemas["Memory"];
export type Artifact = Schemas["Artifact"];
export type ArtifactList = Schemas["ArtifactList"];
export type Checkout = Schemas["Checkout"];
export type WholeCheckout = Schemas["WholeCheckout"];
export type EnvironmentList = Schemas["EnvironmentList"];
export type Comparison = Schemas["Comparison"];
export type Group = Schemas["Group"];
export type Member = Schemas["Member"];
export type Pairing = Schemas["Pairing"];
export type Spread = Schemas["Spread"];
/** ``config`` is what the editor shows again. */
export type Experiment = Omit<Schemas["Experiment"], "config"> & { config: JsonObject };
export type ExperimentPage = Schemas["ExperimentPage"];
export type Report = Omit<Schemas["Report"], "experiment"> & { experiment: Experiment };
export type ExperimentGroup = Schemas["ExperimentGroup"];
export type Judgement = Schemas["Judgement"];
export type Mean = Schemas["Mean"];
export type Estimate = Schemas["ExperimentEstimate"];
export type Dataset = Schemas["Dataset"];
export type DatasetList = Schemas["DatasetList"];
export type DatasetPreview = Schemas["DatasetPreview"];
export type Queue = Schemas["Queue"];
export type WaitingRun = Schemas["WaitingRun"];
export type Standing = Schemas["Standing"];
export type Me = Schemas["Me"];
export type User = Schemas["User"];
export type UserList = Schemas["UserList"];
export type Token = Schemas["Token"];
export type TokenList = Schemas["TokenList"];
export type CreatedToken = Schemas["CreatedToken"];
export type Webhook = Schemas["Webhook"];
export type WebhookList = Schemas["WebhookList"];
export type CreatedWebhook = Schemas["CreatedWebhook"];
export type Delivery = Schemas["Delivery"];
export type DeliveryList = Schemas["DeliveryList"];
export type LoginCode = Schemas["LoginCode"];
export type AuditPage = Schemas["AuditPage"];
export type Worker = Schemas["Worker"];
export type WorkerList = Schemas["WorkerList"];
export type Preset = Omit<Schemas["Preset"], "config"> & { config: JsonObject };
export type FilterFields = Schemas["Known"];
export type View = Schemas["View"];
export type ViewList = Schemas["ViewList"];
export type Problem = Schemas["FieldProblem"];

/** What lists say of runs that train nothing. */
export function kindWord(kind: string): string {
  return { eval: "evaluation", inspect: "inspection" }[kind] ?? kind;
}

const FINAL: readonly State[] = ["succeeded", "failed", "cancelled"];

export function isFinal(state: State): boolean {
  return FINAL.includes(state);
}

/** A final value such as ``exact_accuracy``; null before the end. */
export function resultValue(run: RunSummary, key: string): number | null {
  return run.result?.values[key] ?? null;
}

export function exactAccuracy(run: RunSummary): number | null {
  return resultValue(run, "exact_accuracy") ?? run.latest["test.exact_accuracy"] ?? null;
}

export function stepTime(run: RunSummary): number | null {
  return resultValue(run, "step_time_s") ?? run.step_time_s ?? run.latest["time.step_s"] ?? null;
}

export function savedBytes(run: RunSummary): number | null {
  return resultValue(run, "saved_bytes") ?? run.latest["memory.saved_bytes"] ?? null;
}

export function eagerBytes(run: RunSummary): number | null {
  return resultValue(run, "eager_bytes") ?? run.latest["memory.eager_bytes"] ?? null;
}

/** Saved activation bytes as a share of eager's. */
export function savedFraction(run: RunSummary): number | null {
  const [saved, eager] = [savedBytes(run), eagerBytes(run)];
  return saved === null || !eager ? null : saved / eager;
}
