import { ActionIcon, SegmentedControl, Slider, Tooltip } from "@mantine/core";
import { useEffect, useState, type KeyboardEvent } from "react";
import type { Inspection } from "~/api/model";
import { AnswerGrid } from "~/player/AnswerGrid";
import { alike, framesOf, halting, lengthOf, readingAt, stepped, words, type Unit } from "~/player/frames";
import { HaltCurve, type Side } from "~/player/HaltCurve";
import { Plane } from "~/player/Plane";
import { percent, value } from "~/ui/format";
import { Icon } from "~/ui/icons";
import { Panel } from "~/ui/Panel";
import classes from "./Player.module.css";

export interface Followed {
  name: string;
  color: string;
  inspection: Inspection;
}

interface Props {
  sides: readonly [Followed, ...Followed[]];
  frame: number;
  setFrame: (frame: number) => void;
}

const TICK_MS: Record<Unit, number> = { call: 70, cycle: 220, step: 600 };

/** One puzzle's way through the recursion, of one run or of two beside each other. */
export function Player({ sides, frame: wanted, setFrame }: Props) {
  const main = sides[0].inspection;
  const last = framesOf(main) - 1;
  const frame = Math.max(0, Math.min(last, wanted));
  const [unit, setUnit] = useState<Unit>("cycle");
  const [isPlaying, setPlaying] = useState(false);
  const isRunning = isPlaying && frame < last;
  useEffect(() => {
    if (!isRunning) return undefined;
    const timer = setTimeout(() => setFrame(stepped(main, frame, unit, 1)), TICK_MS[unit]);
    return () => clearTimeout(timer);
  }, [isRunning, frame, unit, main, setFrame]);
  const play = () => {
    if (frame === last) setFrame(0);
    setPlaying(!isRunning);
  };
  const shown: Side[] = sides.map((side, i) => ({ ...side, frame: i ? alike(main, frame, side.inspection) : frame }));
  const keys = (event: KeyboardEvent) => {
    const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === " ") play();
    else if (event.key === "Home") setFrame(0);
    else if (event.key === "End") setFrame(last);
    else if (direction) setFrame(stepped(main, frame, event.shiftKey ? "step" : unit, direction as 1 | -1));
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div className={classes.player} data-testid="player">
      <Panel>
        <div className={classes.transport}>
          <Tooltip label={isRunning ? "Pause (space)" : "Play (space)"}>
            <ActionIcon variant="light" size="lg" onClick={play} aria-label={isRunning ? "Pause" : "Play"} data-testid="play">
              <Icon name={isRunning ? "pause" : "play"} />
            </ActionIcon>
          </Tooltip>
          <div className={classes.slider} onKeyDownCapture={keys}>
            <Slider
              min={0}
              max={last}
              value={frame}
              onChange={setFrame}
              label={null}
              marks={marksOf(main)}
              thumbLabel="Call of the network"
              thumbProps={{ "aria-valuetext": words(main, frame) }}
              data-testid="slider"
            />
          </div>
          <SegmentedControl
            size="xs"
            value={unit}
            onChange={(next) => setUnit(next as Unit)}
            data={[
              { value: "call", label: "Call" },
              { value: "cycle", label: "Cycle" },
              { value: "step", label: "Step" },
            ]}
            aria-label="How far one step of the player goes"
          />
        </div>
        <p className={`${classes.words} num`} aria-live={isRunning ? "off" : "polite"} data-testid="position">
          {words(main, frame)} <span className="faint">· arrow keys step, with shift by supervision steps; space plays</span>
        </p>
      </Panel>
      <div className={classes.sides} data-two={sides.length > 1 || undefined}>
        {shown.map((side) => (
          <OneSide key={side.name} side={side} />
        ))}
      </div>
      <Panel title="Halting value" aside={<Legend sides={sides} />}>
        <HaltCurve sides={shown} />
      </Panel>
    </div>
  );
}

function marksOf(inspection: Inspection): { value: number }[] {
  const step = lengthOf(inspection, "step");
  const steps = framesOf(inspection) / step;
  return Array.from({ length: steps }, (_, i) => ({ value: (i + 1) * step - 1 }));
}

function Legend({ sides }: { sides: readonly Followed[] }) {
  return (
    <span className={classes.legend}>
      {sides.map(({ name, color }) => (
        <span key={name}>
          <i style={{ background: color }} aria-hidden /> {name}
        </span>
      ))}
    </span>
  );
}

function OneSide({ side }: { side: Side }) {
  const { inspection, frame, name, color } = side;
  const reading = readingAt(inspection, frame);
  const place = inspection.path[frame];
  return (
    <Panel title={name} aside={<Verdict inspection={inspection} frame={frame} />} testId="side">
      <div className={classes.side}>
        <div>
          <AnswerGrid inspection={inspection} reading={reading} label={`Answer of ${name}`} />
          <Key />
        </div>
        <div className={classes.facts}>
          <dl className="num">
            <Fact label="Halting value">{percent(halting(reading))}</Fact>
            <Fact label="Mean confidence">{percent(reading && mean(reading.confidences))}</Fact>
            <Fact label="Cells changed">{reading ? reading.changed.length : "–"}</Fact>
            <Fact label="Against the rules">{reading ? reading.violations.length : "–"}</Fact>
            {inspection.solution && <Fact label="Right cells">{reading ? rightWords(reading.cells, inspection.solution) : "–"}</Fact>}
            <Fact label={`Drift of the ${place?.state ?? "state"}`}>{value(place?.drift)}</Fact>
            <Fact label={`Norm of the ${place?.state ?? "state"}`}>{value(place?.norm)}</Fact>
          </dl>
          <Plane inspection={inspection} frame={frame} color={color} />
        </div>
      </div>
    </Panel>
  );
}

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

function rightWords(cells: string, solution: string): string {
  const right = [...cells].filter((cell, i) => cell === solution[i]).length;
  return `${right} of ${cells.length}`;
}

function Fact({ label, children }: { label: string; children: React.ReactNode }) {
  return (
    <div>
      <dt>{label}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Verdict({ inspection, frame }: { inspection: Inspection; frame: number }) {
  const reading = readingAt(inspection, frame);
  const first = inspection.readings.find((r) => r.solved);
  if (!reading) return <span className="faint">no answer yet</span>;
  return (
    <span className={classes.verdict} data-solved={reading.solved || undefined} data-testid="verdict-now">
      {reading.solved ? "solved" : "not solved"}
      {first && <span className="faint"> · first at step {first.supervision_step}, cycle {first.cycle}</span>}
    </span>
  );
}

function Key() {
  return (
    <p className={classes.key}>
      <span>
        unsure <i className={classes.ramp} aria-hidden /> sure
      </span>
      <span>
        <i className={classes.ring} aria-hidden /> just changed
      </span>
      <span>
        <i className={classes.corner} aria-hidden /> against a rule
      </span>
    </p>
  );
}
