import { useElementSize } from "@mantine/hooks";
import type { Spectrum } from "~/api/model";
import { percent } from "~/ui/format";
import classes from "./Scree.module.css";

const WIDEST = 620;
const HEIGHT = 210;
const LEFT = 40;
const BOTTOM = 26;
const LEVELS = [0.9, 0.95, 0.99, 0.999];

/** How much of the energy each direction of a basis holds, on a logarithm, and where the leading ones reach a share of all. */
export function Scree({ spectrum }: { spectrum: Spectrum }) {
  const { energies, width } = spectrum;
  const { ref, width: room } = useElementSize<HTMLDivElement>();
  const wide = Math.min(WIDEST, room);
  if (!energies.length) return <p className="muted">This update kept the site in full: there is no basis to show directions of.</p>;
  const low = Math.max(1e-6, Math.min(...energies.filter((e) => e > 0)));
  const floor = 10 ** Math.floor(Math.log10(low));
  const y = (energy: number) => 10 + (1 - Math.log(Math.max(energy, floor) / floor) / Math.log(1 / floor)) * (HEIGHT - BOTTOM - 10);
  const step = Math.max(0, wide - LEFT - 8) / energies.length;
  const reached = LEVELS.map((level) => ({ level, rank: rankAt(energies, level) }));
  return (
    <div ref={ref}>
      <svg width={wide} height={HEIGHT} className={classes.scree} role="img" aria-label={inWords(spectrum)} data-testid="scree" data-step={spectrum.step}>
        {[1, floor ** 0.5, floor].map((energy) => (
          <g key={energy}>
            <line x1={LEFT} x2={wide - 8} y1={y(energy)} y2={y(energy)} className={classes.gridline} />
            <text x={LEFT - 6} y={y(energy) + 3.5} textAnchor="end" className={classes.tick}>
              {energy >= 0.001 ? percent(energy, energy < 0.1 ? 1 : 0) : energy.toExponential(0)}
            </text>
          </g>
        ))}
        {energies.map((energy, i) => (
          <rect key={i} x={LEFT + i * step} y={y(energy)} width={Math.max(0.6, step - 1)} height={Math.max(0, HEIGHT - BOTTOM - y(energy))} className={classes.bar}>
            <title>{`direction ${i + 1}: ${percent(energy, 2)} of the energy`}</title>
          </rect>
        ))}
        {reached.map(({ level, rank }, i) => rank !== null && <EnergyLine key={level} level={level} x={LEFT + rank * step} row={i} />)}
        <text x={wide - 8} y={HEIGHT - 6} textAnchor="end" className={classes.tick}>
          directions of the basis: {energies.length} of {width}
        </text>
      </svg>
      <p className={`${classes.words} num`} data-testid="energy-ranks">
        {reached.map(({ level, rank }) => `${percent(level, level > 0.99 ? 1 : 0)} of the energy ${rank === null ? "is not reached" : `in ${rank}`}`).join(" · ")}
      </p>
    </div>
  );
}

/** The fewest leading directions that hold this share; null where all of them don't. */
export function rankAt(energies: readonly number[], level: number): number | null {
  let held = 0;
  const index = energies.findIndex((energy) => (held += energy) >= level);
  return index < 0 ? null : index + 1;
}

function EnergyLine({ level, x, row }: { level: number; x: number; row: number }) {
  return (
    <g>
      <line x1={x} x2={x} y1={10} y2={HEIGHT - BOTTOM} className={classes.level} />
      <text x={x + 3} y={18 + 11 * row} className={classes.levelName}>
        {percent(level, level > 0.99 ? 1 : 0)}
      </text>
    </g>
  );
}

function inWords({ site, step, energies }: Spectrum): string {
  return `Energies of ${energies.length} directions of ${site} at step ${step}; the first holds ${percent(energies[0], 0)}`;
}

/** The fidelity of one basis at each recursion step that shares it. */
export function Profile({ spectrum }: { spectrum: Spectrum }) {
  const { fidelities } = spectrum;
  if (!fidelities.length) return <p className="muted">This update looked at all recursion steps together, as first ones and resets do. Pick another.</p>;
  const low = Math.min(...fidelities);
  const from = Math.max(0, low - Math.max(0.02, (1 - low) * 0.25));
  return (
    <ul className={`${classes.profile} num`} data-testid="profile">
      {fidelities.map((fidelity, i) => (
        <li key={i}>
          <span>{i === fidelities.length - 1 ? `${i + 1} (last)` : i + 1}</span>
          <i style={{ width: `${(100 * (fidelity - from)) / (1 - from)}%` }} aria-hidden />
          <b>{fidelity.toFixed(4)}</b>
        </li>
      ))}
    </ul>
  );
}
