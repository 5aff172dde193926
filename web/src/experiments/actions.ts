import { request } from "~/api/client";
import type { Experiment, Estimate, JsonObject } from "~/api/model";

export const createExperiment = (config: JsonObject, key: string) =>
  request<Experiment>("/experiments", { method: "POST", body: config, headers: { "Idempotency-Key": key } });

export const estimateExperiment = (config: JsonObject, signal: AbortSignal) =>
  request<Estimate>("/experiments/estimate", { method: "POST", body: config, signal });

export const cancelExperiment = (id: string) => request<Experiment>(`/experiments/${id}/cancel`, { method: "POST" });

export const deleteExperiment = (id: string) => request<undefined>(`/experiments/${id}`, { method: "DELETE" });
