/** What the player is asked: a puzzle of the test set by its number, or one's own. */
import { queryOptions } from "@tanstack/react-query";
import { ApiError, query, request } from "~/api/client";
import { isFinal, type Inspection, type Run, type RunPage } from "~/api/model";
import type { RunSearch } from "~/router";
import { quoted } from "~/runs/complete";

export type Ask = { puzzle: string } | { index: number };

/** Null where the address asks nothing yet. */
export function askOf({ puzzle, index }: RunSearch): Ask | null {
  if (puzzle !== undefined) return { puzzle };
  return index === undefined ? null : { index: Math.max(0, Math.floor(Number(index)) || 0) };
}

const POLL_MS = 400;

/** Queues an inspection and waits for it; who may not queue one gets what somebody else has asked for. */
export const inspectionQuery = (checkpoint: string, ask: Ask, isReadOnly: boolean) =>
  queryOptions({
    queryKey: ["inspection", checkpoint, ask, isReadOnly],
    queryFn: ({ signal }) => (isReadOnly ? askedBefore(checkpoint, ask, signal) : inspected({ kind: "inspect", checkpoint, ...ask }, signal)),
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

async function askedBefore(checkpoint: string, ask: Ask, signal: AbortSignal): Promise<Inspection> {
  const puzzle = "puzzle" in ask ? `config.puzzle:${quoted(ask.puzzle)}` : `config.index:${ask.index} config.puzzle:""`;
  const filter = `config.checkpoint:${checkpoint} ${puzzle}`;
  const { items } = await request<RunPage>(query("/runs", { kind: "inspect", state: "succeeded", filter, limit: 1 }), { signal });
  if (!items[0]) throw new ApiError(404, "Nobody has asked this run that puzzle yet", "Nobody has asked this run that puzzle yet, and you may only read.");
  return request<Inspection>(`/runs/${items[0].id}/inspection`, { signal });
}

/** The server gives the inspection that was made before where there is one. */
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
