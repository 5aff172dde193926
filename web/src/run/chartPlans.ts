/** Which curves share a chart, what they are called and in which unit they read. */
import type { Series } from "~/api/model";
import { bytes, percent, seconds, value } from "~/ui/format";

export interface ChartPlan {
  id: string;
  title: string;
  keys: readonly { key: string; label: string; color: string; isDashed?: boolean }[];
  format: (value: number) => string;
  range?: readonly [number, number];
  isBytes?: boolean;
  /** Never smoothed: the steps themselves matter. */
  isExact?: boolean;
}

const accent = "var(--accent)";
const teal = "var(--variant-laser-fused)";
const amber = "var(--variant-checkpoint)";
const gray = "var(--variant-none)";
const violet = "var(--variant-laser-coded)";
const share = (number: number) => percent(number, 0);

export const plans: readonly ChartPlan[] = [
  {
    id: "loss",
    title: "Loss",
    format: value,
    keys: [
      { key: "train.loss", label: "total", color: accent },
      { key: "train.lm_loss", label: "answer", color: teal },
      { key: "train.halt_loss", label: "halting", color: amber },
    ],
  },
  {
    id: "accuracy",
    title: "Accuracy",
    format: share,
    range: [0, 1.02],
    keys: [
      { key: "test.exact_accuracy", label: "exact, unseen", color: amber },
      { key: "train.exact_accuracy", label: "exact, training", color: accent },
      { key: "train.cell_accuracy", label: "cells, training", color: teal },
      { key: "test.cell_accuracy", label: "cells, unseen", color: gray },
      { key: "test.valid_accuracy", label: "valid, unseen", color: violet },
    ],
  },
  {
    id: "memory",
    title: "Saved activations",
    format: bytes,
    isBytes: true,
    isExact: true,
    keys: [
      { key: "memory.saved_bytes", label: "held", color: accent },
      { key: "memory.eager_bytes", label: "eager", color: gray, isDashed: true },
    ],
  },
  { id: "step-time", title: "Step time", format: seconds, keys: [{ key: "time.step_s", label: "step time", color: accent }] },
  { id: "learning-rate", title: "Learning rate", format: value, isExact: true, keys: [{ key: "train.learning_rate", label: "learning rate", color: accent }] },
  { id: "gradient-norm", title: "Gradient norm", format: value, keys: [{ key: "train.gradient_norm", label: "norm", color: accent }] },
  {
    id: "supervision-steps",
    title: "Supervision steps, unseen",
    format: value,
    keys: [{ key: "test.supervision_steps", label: "steps", color: accent }],
  },
];

/** Evaluations over other axes than training steps have few, exact points. */
export const isMeasuredOnce = (key: string) => /^(test|steps|halting|rollouts|projection|gradient)\./.test(key);

/** A chart of its own for every metric that no plan names. */
export function planRest(series: readonly Series[]): ChartPlan[] {
  const planned = new Set(plans.flatMap((plan) => plan.keys.map(({ key }) => key)));
  return series
    .filter(({ key }) => !planned.has(key))
    .map(({ key }) => ({ id: key, title: key, format: value, keys: [{ key, label: key, color: accent }] }));
}
