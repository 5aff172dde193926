/** One colour per activation store, the same on every page. */
import classes from "./variants.module.css";

const known = new Set(["none", "checkpoint", "laser", "laser-fused", "laser-coded", "quant"]);
const words: Record<string, string> = {
  none: "keeps every activation",
  checkpoint: "keeps inputs, computes the rest again",
  laser: "keeps linear inputs in a low-rank basis",
  "laser-fused": "keeps three low-rank tensors per block",
  "laser-coded": "keeps three tensors per block as packed codes in a tracked basis",
  quant: "keeps three tensors per block in groups of integers",
  asi: "keeps linear inputs in a basis for each call",
  random: "keeps linear inputs in a random basis",
  auto: "takes the fastest store that fits a memory budget",
};

export function variantColor(store: string): string {
  return `var(--variant-${known.has(store) ? store : "other"})`;
}

export function variantWords(store: string): string {
  return words[store] ?? "";
}

export function Variant({ store }: { store: string }) {
  if (!store) return <span className="faint">–</span>;
  return (
    <span className={classes.variant} title={variantWords(store)}>
      <span className={classes.swatch} style={{ background: variantColor(store) }} aria-hidden />
      {store}
    </span>
  );
}
