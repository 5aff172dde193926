/** What the player is asked: a puzzle of the test set by its number, or one's own. */
import { queryOptions } from "@tanstack/react-query";
import { ApiError, request } from "~/api/client";
import { isFinal, type Inspection, type Run } from "~/api/model";
import type { RunSearch } from "~/router";

export type Ask = { puzzle: string } | { index: number };

/** Null where the address asks nothing yet. */
export function askOf({ puzzle, index }: RunSearch): Ask | null {
  if (puzzle !== undefined) return { puzzle };
  return index === undefined ? null : { index: Math.max(0, Math.floor(Number(index)) || 0) };
}

const POLL_MS = 400;

/** Queues an inspection and waits for it; the server gives the one that was made before where there is one. */
export const inspectionQuery = (checkpoint: string, ask: Ask) =>
  queryOptions({
    queryKey: ["inspection", checkpoint, ask],
    queryFn: ({ signal }) => inspected({ kind: "inspect", checkpoint, ...ask }, signal),
    staleTime: Infinity,
    retry: false,
  });

/** Of an inspection that is a run of its own. */
export const foundQuery = (id: string) =>
  queryOptions({
    queryKey: ["found", id],
    queryFn: ({ signal }) => request<Inspection>(`/runs/${id}/inspection`, { signal }),
    staleTime: Infinity,
  });

async function inspected(config: object, signal: AbortSignal): Promise<Inspection> {
  let run = await request<Run>("/runs", { method: "POST", body: config, signal });
  while (!isFinal(run.state)) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    run = await request<Run>(`/runs/${run.id}`, { signal });
  }
  if (run.state !== "succeeded") throw new ApiError(0, `The inspection has ${run.state}`, run.reason);
  return request<Inspection>(`/runs/${run.id}/inspection`, { signal });
}

const isBlank = (cell: string | undefined) => cell === "." || cell === "0";

/** The question with this share of its blanks filled in, spread over the grid. */
export function filled(question: string, solution: string, share: number): string {
  let blanks = 0;
  return [...question]
    .map((cell, i) => {
      if (!isBlank(cell)) return cell;
      blanks += 1;
      return Math.floor(blanks * share) > Math.floor((blanks - 1) * share) ? (solution[i] ?? cell) : cell;
    })
    .join("");
}
