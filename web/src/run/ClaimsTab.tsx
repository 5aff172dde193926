import type { Json, Run } from "~/api/model";
import { isLive } from "~/api/queries";
import { isObject } from "~/form/json";
import { Empty } from "~/ui/Empty";
import { value } from "~/ui/format";
import { Panel } from "~/ui/Panel";
import classes from "./ClaimsTab.module.css";

export interface Verdict {
  claim: string;
  statement: string;
  answer: string;
  value: number | null;
  threshold: string;
}

/** Which of LASER's claims an analysis bears out; all numbers are in its analysis.json. */
export default function ClaimsTab({ run }: { run: Run }) {
  const verdicts = verdictsOf(run);
  if (!verdicts.length) {
    return (
      <Empty icon="runs" title="No verdict yet" compact testId="no-verdicts">
        {isLive(run) ? "Verdicts appear here when the analysis is complete." : "It ended before its verdicts. Its logs may say why."}
      </Empty>
    );
  }
  return (
    <Panel title="Claims" aside={<span className="faint">spectra and angles: analysis.json, under Files</span>} flush>
      <Verdicts verdicts={verdicts} />
    </Panel>
  );
}

export function Verdicts({ verdicts }: { verdicts: readonly Verdict[] }) {
  return (
    <table className={classes.table} data-testid="verdicts">
      <thead>
        <tr>
          <th>Claim</th>
          <th>Statement</th>
          <th>Verdict</th>
          <th>Measured</th>
          <th>Needed</th>
        </tr>
      </thead>
      <tbody>
        {verdicts.map((verdict) => (
          <tr key={verdict.claim} data-testid="verdict">
            <td className="num">{verdict.claim}</td>
            <td>{verdict.statement}</td>
            <td data-answer={verdict.answer}>{verdict.answer}</td>
            <td className="num">{verdict.value === null ? "–" : value(verdict.value)}</td>
            <td className="muted">{verdict.threshold}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

export function verdictsOf(run: Pick<Run, "result">): Verdict[] {
  const text = run.result?.notes?.verdicts;
  if (!text) return [];
  const parsed = JSON.parse(text) as Json;
  return Array.isArray(parsed) ? parsed.filter(isObject).map((verdict) => verdict as unknown as Verdict) : [];
}
