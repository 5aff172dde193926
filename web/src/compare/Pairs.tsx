import { Link } from "@tanstack/react-router";
import type { Group, Member, Pairing } from "~/api/model";
import { percent, points } from "~/ui/format";
import { Panel } from "~/ui/Panel";
import { Variant } from "~/ui/variants";
import classes from "./Compare.module.css";

/** Every seed with both variants, and what differs between the two. */
export function Pairs({ pairing, groups }: { pairing: Pairing; groups: readonly Group[] }) {
  const members = new Map(groups.flatMap((group) => group.members.map((member) => [member.run_id, member])));
  const mean = pairing.exact_accuracy_difference.mean;
  return (
    <Panel
      flush
      testId="pairs"
      title={
        <span className={classes.versus}>
          <Variant store={pairing.variant} /> <span className="faint">against</span> <Variant store={pairing.baseline} />
        </span>
      }
      aside={
        <span className="faint num">
          {pairing.pairs.length} {pairing.pairs.length === 1 ? "pair" : "pairs"} of equal seed
          {pairing.p_value !== null && ` · sign-flip p = ${pairing.p_value.toPrecision(2)}`}
        </span>
      }
    >
      {pairing.pairs.length === 0 ? (
        <p className={classes.noPairs}>No two finished runs share a seed yet.</p>
      ) : (
        <div className={classes.scroll} tabIndex={0} role="region" aria-label="Pairs">
          <table className={`${classes.table} num`}>
            <thead>
              <tr>
                <th>Seed</th>
                <th>{pairing.baseline}</th>
                <th>{pairing.variant}</th>
                <th title="Percentage points, variant minus baseline">Accuracy, points</th>
                <th>Step time</th>
                <th>Saved bytes</th>
              </tr>
            </thead>
            <tbody>
              {pairing.pairs.map((pair) => (
                <tr key={pair.variant_id} data-testid="pair">
                  <td>{pair.seed}</td>
                  <td>
                    <RunCell id={pair.baseline_id} member={members.get(pair.baseline_id)} />
                  </td>
                  <td>
                    <RunCell id={pair.variant_id} member={members.get(pair.variant_id)} />
                  </td>
                  <td>{points(pair.exact_accuracy_difference)}</td>
                  <td>{times(pair.step_time_ratio)}</td>
                  <td>{times(pair.saved_bytes_ratio, 3)}</td>
                </tr>
              ))}
            </tbody>
            <tfoot>
              <tr>
                <td colSpan={3}>Mean</td>
                <td>{points(mean)}</td>
                <td>{times(pairing.step_time_ratio.mean)}</td>
                <td>{times(pairing.saved_bytes_ratio.mean, 3)}</td>
              </tr>
            </tfoot>
          </table>
        </div>
      )}
    </Panel>
  );
}

function RunCell({ id, member }: { id: string; member: Member | undefined }) {
  return (
    <Link to="/runs/$id" params={{ id }} className={classes.runLink}>
      {percent(member?.exact_accuracy)}
    </Link>
  );
}

function times(ratio: number | null, digits = 2): string {
  return ratio === null ? "–" : `${ratio.toFixed(digits)} ×`;
}
