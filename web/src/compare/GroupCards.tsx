import { Link } from "@tanstack/react-router";
import type { Group, Pairing, Spread } from "~/api/model";
import { bytes, percent, seconds } from "~/ui/format";
import { Variant, variantColor, variantWords } from "~/ui/variants";
import classes from "./Compare.module.css";

export function GroupCards({ groups, pairings }: { groups: readonly Group[]; pairings: readonly Pairing[] }) {
  return (
    <div className={classes.cards}>
      {groups.map((group) => (
        <GroupCard key={group.variant} group={group} ratio={pairings.find((p) => p.variant === group.variant)?.step_time_ratio.mean ?? null} />
      ))}
    </div>
  );
}

function GroupCard({ group, ratio }: { group: Group; ratio: number | null }) {
  const { exact_accuracy: accuracy, saved_bytes: saved, eager_bytes: eager, step_time_s: time } = group;
  const color = variantColor(group.store);
  return (
    <article className={classes.card} style={{ "--group": color }} data-testid="group-card" data-variant={group.variant}>
      <header>
        <h2>{group.variant === group.store ? <Variant store={group.store} /> : group.variant}</h2>
        <p>{variantWords(group.store)}</p>
      </header>
      <dl className="num">
        <div>
          <dt>Exact accuracy, unseen</dt>
          <dd className={classes.big}>{percent(accuracy.mean)}</dd>
          <dd className={classes.small}>
            <RangeLine spread={accuracy} />
            {spreadWords(accuracy, (v) => percent(v))}
          </dd>
        </div>
        <div>
          <dt>Activation memory</dt>
          <dd>{savedWords(group.saved_fraction)}</dd>
          <dd className={classes.small}>
            {bytes(saved.mean)} of {bytes(eager.mean)}
          </dd>
        </div>
        <div>
          <dt>Step time</dt>
          <dd>{seconds(time.mean)}</dd>
          <dd className={classes.small}>{ratio === null ? "the baseline" : `${ratio.toFixed(2)} × the baseline, paired`}</dd>
        </div>
      </dl>
      <footer>
        {group.members.map((member) => (
          <Link key={member.run_id} to="/runs/$id" params={{ id: member.run_id }} className={classes.seed} data-state={member.state} title={`${member.name} (${member.state})`}>
            seed {member.seed}
          </Link>
        ))}
      </footer>
    </article>
  );
}

/** Least, mean and greatest on the scale from 0 to 1. */
function RangeLine({ spread }: { spread: Spread }) {
  if (spread.mean === null || spread.min === null || spread.max === null) return null;
  const at = (value: number) => `${100 * Math.max(0, Math.min(1, value))}%`;
  return (
    <div className={classes.range} aria-hidden>
      <i style={{ left: at(spread.min), width: `calc(${at(spread.max - spread.min)} + 4px)` }} />
      <b style={{ left: at(spread.mean) }} />
    </div>
  );
}

function spreadWords(spread: Spread, format: (value: number) => string): string {
  if (!spread.count) return "no result yet";
  if (spread.count === 1) return "one run";
  return `${format(spread.min ?? 0)} to ${format(spread.max ?? 0)} over ${spread.count} runs`;
}

function savedWords(fraction: number | null): string {
  if (fraction === null) return "–";
  return fraction >= 0.9995 ? "as eager" : `−${percent(1 - fraction)}`;
}
