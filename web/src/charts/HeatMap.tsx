import { useComputedColorScheme } from "@mantine/core";
import { useElementSize } from "@mantine/hooks";
import { useLayoutEffect, useMemo, useRef, useState, type KeyboardEvent, type MouseEvent } from "react";
import type { SiteTrace } from "~/api/model";
import { draw, heightOf, layoutOf, ROW, stepAt, updateAt, xOf, type Mark, type Measure } from "~/charts/heat";
import { bytes, count, percent, value } from "~/ui/format";
import classes from "./HeatMap.module.css";

interface Props {
  sites: readonly SiteTrace[];
  measure: Measure;
  marks: ReadonlySet<Mark>;
  lastStep: number;
  selected: string | null;
  /** A site and the step of the update that was picked. */
  select: (site: string | null, step?: number) => void;
  at: number | null;
  onCursor: (step: number | null) => void;
}

interface Cell {
  row: number;
  update: number;
}

/** Sites over training steps; the pointer or the arrow keys read a cell, a click picks its site. */
export function HeatMap({ sites, measure, marks, lastStep, selected, select, at, onCursor }: Props) {
  const { ref: sizeRef, width } = useElementSize<HTMLDivElement>();
  const canvas = useRef<HTMLCanvasElement>(null);
  const scheme = useComputedColorScheme("light");
  const [cell, hold] = useState<Cell | null>(null);
  const setCell = (next: Cell | null) => {
    hold(next);
    onCursor(next ? (sites[next.row]?.steps[next.update] ?? null) : null);
  };
  const layout = useMemo(() => layoutOf(sites, width, lastStep), [sites, width, lastStep]);
  useLayoutEffect(() => {
    if (canvas.current && width > 0) draw(canvas.current, { sites, layout, measure, marks, selected });
  }, [sites, layout, measure, marks, selected, scheme, width]);

  const cellUnder = (event: MouseEvent<HTMLCanvasElement>): Cell | null => {
    const box = event.currentTarget.getBoundingClientRect();
    const row = Math.floor((event.clientY - box.top) / ROW);
    const site = sites[row];
    const update = site ? updateAt(site, stepAt(layout, event.clientX - box.left)) : -1;
    return site && update >= 0 ? { row, update } : null;
  };
  const pick = (picked: Cell | null) => {
    const site = picked ? sites[picked.row] : undefined;
    select(site?.site ?? null, picked ? site?.steps[picked.update] : undefined);
  };
  const move = (event: KeyboardEvent) => {
    const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (event.key === "Enter") pick(cell);
    if (!by) return;
    event.preventDefault();
    const row = clamp((cell?.row ?? 0) + (by[0] ?? 0), sites.length);
    setCell({ row, update: clamp((cell?.update ?? 0) + (by[1] ?? 0), sites[row]?.steps.length ?? 0) });
  };
  const site = cell ? sites[cell.row] : undefined;
  return (
    <div ref={sizeRef} className={classes.place}>
      <canvas
        ref={canvas}
        className={classes.canvas}
        style={{ width, height: heightOf(sites) }}
        role="img"
        tabIndex={0}
        aria-label={`${measure === "rank" ? "Rank over width" : "Fidelity"} of ${sites.length} sites up to step ${lastStep}; arrow keys read cells`}
        data-testid={`heatmap-${measure}`}
        data-layout={JSON.stringify(layout)}
        onPointerMove={(event) => setCell(cellUnder(event))}
        onPointerLeave={() => setCell(null)}
        onClick={(event) => pick(cellUnder(event))}
        onKeyDown={move}
        onBlur={() => setCell(null)}
      />
      {at !== null && <div className={classes.linked} style={{ transform: `translateX(${xOf(layout, at)}px)`, height: sites.length * ROW }} />}
      {site && cell && <Tip site={site} update={cell.update} x={xOf(layout, site.steps[cell.update] ?? 0)} y={cell.row * ROW} width={width} />}
    </div>
  );
}

const clamp = (index: number, length: number) => Math.max(0, Math.min(length - 1, index));

function Tip({ site, update, x, y, width }: { site: SiteTrace; update: number; x: number; y: number; width: number }) {
  const rank = site.ranks[update] ?? 0;
  const event = site.events[update] ?? "";
  const isRight = x > width / 2;
  return (
    <>
      <div className={classes.cursor} style={{ transform: `translate(${x}px, ${y}px)`, height: ROW }} />
      <div
        className={`${classes.tip} num`}
        role="status"
        style={{ top: y + ROW + 6, ...(isRight ? { right: Math.max(0, width - x) } : { left: Math.max(0, x) }) }}
      >
        <div className={classes.head}>
          <b className="mono">{site.site}</b> <span>step {count(site.steps[update])}</span>
        </div>
        <dl>
          <dt>rank</dt>
          <dd>
            {rank} of {site.width} <span className="faint">({percent(rank / site.width, 0)})</span>
          </dd>
          <dt>fidelity</dt>
          <dd>{value(site.fidelities[update])}</dd>
          <dt>drift</dt>
          <dd>{value(site.drifts[update])}</dd>
          <dt>held</dt>
          <dd>{bytes(site.saved_bytes[update])}</dd>
          <dt>event</dt>
          <dd>{event}</dd>
        </dl>
      </div>
    </>
  );
}
