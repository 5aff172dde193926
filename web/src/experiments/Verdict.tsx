import type { ReactNode } from "react";
import type { Judgement, Mean } from "~/api/model";
import { PairPlot, signed } from "~/experiments/PairPlot";
import { Panel } from "~/ui/Panel";
import classes from "./Experiments.module.css";

/** One variant against the baseline: the word, the pairs drawn, and the tests it rests on. */
export function Verdict({ judged, isOver }: { judged: Judgement; isOver: boolean }) {
  const { paired_t: t, tost, bootstrap } = judged;
  return (
    <Panel
      testId="verdict"
      title={
        <span>
          <b>{judged.variant}</b> <span className="faint">against</span> <b>{judged.baseline}</b>
        </span>
      }
      aside={
        <>
          {!isOver && <span className="faint">so far</span>}
          <span className={classes.word} data-verdict={judged.verdict} data-testid="verdict-word">
            {judged.verdict}
          </span>
        </>
      }
    >
      <div className={classes.verdict}>
        {judged.pairs > 0 ? <PairPlot judged={judged} /> : <p className={classes.note}>No seed has both runs done yet.</p>}
        <dl className="num" hidden={!judged.pairs}>
          <Fact name="Pairs of equal seed">{judged.pairs}</Fact>
          <Fact name="Mean difference">{judged.mean === null ? "–" : `${signed(judged.mean)} points`}</Fact>
          <Fact name="95 % interval (paired t)">{ends(t.ci95)}</Fact>
          <Fact name="90 % interval (TOST)">{ends(tost.ci90)}</Fact>
          <Fact name="p, paired t">{p(t.p)}</Fact>
          <Fact name="p, sign-flip, exact">{p(judged.sign_flip.p)}</Fact>
          <Fact name={`p, equivalence at ±${judged.margin}`}>{p(tost.p)}</Fact>
          <Fact name={`p, not worse by ${judged.margin}`}>{p(judged.non_inferiority_p)}</Fact>
          {bootstrap && <Fact name="95 % over seeds and puzzles">{ends(bootstrap.ci95)}</Fact>}
          <Fact name="Pairs that would show equivalence">{judged.seeds_needed ?? "–"}</Fact>
          <Fact name="Step time">{times(judged.step_time_ratio, 2)}</Fact>
          <Fact name="Activation bytes">{times(judged.saved_bytes_ratio, 3)}</Fact>
        </dl>
      </div>
    </Panel>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  );
}

function ends(interval: readonly number[] | null): string {
  return interval ? `${signed(interval[0] ?? 0)} to ${signed(interval[1] ?? 0)}` : "–";
}

function p(value: number | null): string {
  return value === null ? "–" : value < 0.001 ? "< 0.001" : value.toFixed(3);
}

export function times({ mean, low, high }: Mean, digits: number): string {
  if (mean === null) return "–";
  return `${mean.toFixed(digits)} ×` + (low === null || high === null ? "" : ` (${low.toFixed(digits)} to ${high.toFixed(digits)})`);
}
