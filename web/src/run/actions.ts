import { request } from "~/api/client";
import type { JsonObject, Run } from "~/api/model";

export const cancelRun = (id: string) => request<Run>(`/runs/${id}/cancel`, { method: "POST" });

export const pauseRun = (id: string) => request<Run>(`/runs/${id}/pause`, { method: "POST" });

export const resumeRun = (id: string) => request<Run>(`/runs/${id}/resume`, { method: "POST" });

export const deleteRun = (id: string) => request<undefined>(`/runs/${id}`, { method: "DELETE" });

/** ``key`` makes a repeated click, or a retry after a lost answer, the same run. */
export const createRun = (config: JsonObject, key: string) =>
  request<Run>("/runs", { method: "POST", body: config, headers: { "Idempotency-Key": key } });
