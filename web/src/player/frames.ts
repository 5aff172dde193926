/** Positions in an inspection: a frame is one call of the network; the answer changes with the last call of a cycle. */
import type { Inspection, Place, Reading } from "~/api/model";

export type Unit = "call" | "cycle" | "step";

export const framesOf = (inspection: Inspection) => inspection.path.length;

/** Calls in one of these. */
export function lengthOf(inspection: Inspection, unit: Unit): number {
  const cycle = inspection.latent_steps + 1;
  return unit === "call" ? 1 : unit === "cycle" ? cycle : cycle * inspection.cycles;
}

/** The next frame that ends a unit, before or after this one. */
export function stepped(inspection: Inspection, frame: number, unit: Unit, direction: 1 | -1): number {
  const length = lengthOf(inspection, unit);
  const units = direction > 0 ? Math.floor((frame + 1) / length) + 1 : Math.ceil((frame + 1) / length) - 1;
  return Math.max(0, Math.min(framesOf(inspection) - 1, units * length - 1));
}

/** What stands in the grid at a frame: the newest answer, none before the first. */
export function readingAt(inspection: Inspection, frame: number): Reading | undefined {
  return inspection.readings[Math.floor((frame + 1) / lengthOf(inspection, "cycle")) - 1];
}

/** The frame of another inspection that is as far on. */
export function alike(inspection: Inspection, frame: number, other: Inspection): number {
  return Math.round((frame / Math.max(1, framesOf(inspection) - 1)) * (framesOf(other) - 1));
}

export function words(inspection: Inspection, frame: number): string {
  const place: Place | undefined = inspection.path[frame];
  if (!place) return "";
  const call = place.state === "answer" ? "answer" : `latent ${place.recursion_step} of ${inspection.latent_steps}`;
  return `Supervision step ${place.supervision_step}, cycle ${place.cycle} of ${inspection.cycles}, ${call}`;
}

export const halting = (reading: Reading | undefined): number | null =>
  reading ? 1 / (1 + Math.exp(-reading.halt_logit)) : null;
