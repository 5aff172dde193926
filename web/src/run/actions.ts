import { query, request } from "~/api/client";
import type { JsonObject, Run } from "~/api/model";

export const cancelRun = (id: string) => request<Run>(`/runs/${id}/cancel`, { method: "POST" });

export const pauseRun = (id: string) => request<Run>(`/runs/${id}/pause`, { method: "POST" });

export const resumeRun = (id: string) => request<Run>(`/runs/${id}/resume`, { method: "POST" });

export const deleteRun = (id: string) => request<undefined>(`/runs/${id}`, { method: "DELETE" });

/** How a run asks to be carried out; its configuration knows nothing of it. */
export interface Asked {
  priority: Run["priority"];
  pool: string;
  time_limit_s: number | undefined;
  gpus: number | undefined;
  gpu_memory: number | undefined;
  after: string;
}

export const ASKED: Asked = { priority: "normal", pool: "", time_limit_s: undefined, gpus: undefined, gpu_memory: undefined, after: "" };

export interface RunChange {
  add_tags?: string[];
  remove_tags?: string[];
  note?: string;
}

export const changeRun = (id: string, change: RunChange) =>
  request<Run>(`/runs/${id}`, { method: "PATCH", body: change });

/** ``key`` makes a repeated click, or a retry after a lost answer, the same run. */
export const createRun = (config: JsonObject, asked: Asked, key: string) =>
  request<Run>(query("/runs", { ...asked }), { method: "POST", body: config, headers: { "Idempotency-Key": key } });
