import { Button, NumberInput, Select, Skeleton, Textarea } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { useCallback, useEffect, useState } from "react";
import { useReadOnly } from "~/account/ReadOnly";
import { ApiError, messageOf } from "~/api/client";
import type { Inspection, Run } from "~/api/model";
import { isLive, runQuery, someRunsQuery } from "~/api/queries";
import { PuzzleGrid } from "~/datasets/PuzzleGrid";
import { askOf, filled, foundQuery, inspectionQuery, type Ask } from "~/player/ask";
import { framesOf } from "~/player/frames";
import { Player, type Followed } from "~/player/Player";
import { runRoute, type RunSearch } from "~/router";
import { Empty, Failure } from "~/ui/Empty";
import { Panel } from "~/ui/Panel";
import classes from "~/player/Player.module.css";

/** One puzzle followed through the recursion, beside another run where one is chosen. */
export default function ReasoningTab({ run }: { run: Run }) {
  if (isLive(run)) {
    return (
      <Empty icon="zap" title="Not yet" compact testId="no-reasoning">
        {run.kind === "inspect" ? "The answer appears here in a moment." : "Puzzles can be followed through the model once its training has ended."}
      </Empty>
    );
  }
  if (run.kind === "train" && !run.checkpoint) {
    return (
      <Empty icon="zap" title="No checkpoint" compact testId="no-reasoning">
        This run ended before it saved one, so there is no model to look into.
      </Empty>
    );
  }
  return run.kind === "inspect" ? <Found run={run} /> : <Asked run={run} />;
}

function useSearch(): [RunSearch, (changes: RunSearch) => void] {
  const search = runRoute.useSearch();
  const { id } = runRoute.useParams();
  const navigate = useNavigate();
  const change = useCallback(
    (changes: RunSearch) =>
      void navigate({ to: "/runs/$id", params: { id }, search: (before) => ({ ...before, ...changes, tab: "reasoning" }), replace: true, resetScroll: false }),
    [navigate, id],
  );
  return [search, change];
}

function Found({ run }: { run: Run }) {
  const found = useQuery(foundQuery(run.id));
  if (found.isError) return <Failure error={found.error} />;
  if (!found.data) return <Skeleton height={420} radius="lg" />;
  return <Shown sides={[{ name: run.name, color: "var(--accent)", inspection: found.data }]} />;
}

function Asked({ run }: { run: Run }) {
  const [search, change] = useSearch();
  const ask = askOf(search);
  const readOnly = useReadOnly();
  if (readOnly && !ask) return <AskedByOthers run={run} why={readOnly} />;
  return (
    <div className={classes.page}>
      {!readOnly && (
        <Panel title="Puzzle">
          <Picker key={`${search.puzzle} ${search.index}`} run={run} search={search} change={change} />
        </Panel>
      )}
      {ask ? (
        <Answers run={run} ask={ask} beside={search.beside} pick={(puzzle) => change({ puzzle, index: undefined, at: undefined })} />
      ) : (
        <Empty icon="zap" title="Watch the model reason" compact testId="no-puzzle">
          Take a puzzle of the test set or type your own. A worker follows it through every call of the network; that takes seconds, and the answer is kept.
        </Empty>
      )}
    </div>
  );
}

function AskedByOthers({ run, why }: { run: Run; why: string }) {
  const search = { filter: `kind:inspect config.checkpoint:${run.id}` };
  return (
    <Empty
      icon="lock"
      title="You may look at what others asked"
      compact
      testId="asked-by-others"
      actions={
        <Button variant="default" renderRoot={(props) => <Link to="/" search={search} {...props} />}>
          Puzzles asked of this run
        </Button>
      }
    >
      {why}
    </Empty>
  );
}

interface PickerProps {
  run: Run;
  search: RunSearch;
  change: (changes: RunSearch) => void;
}

function Picker({ run, search, change }: PickerProps) {
  const [index, setIndex] = useState<number | string>(Number(search.index ?? 0));
  const [puzzle, setPuzzle] = useState(search.puzzle ?? "");
  const others = useQuery(someRunsQuery({ kind: "train", state: ["succeeded"], sort: "-created" }, 100));
  const choices = (others.data?.items ?? []).filter(({ id }) => id !== run.id).map(({ id, number, name }) => ({ value: id, label: `#${number} ${name}` }));
  const cells = puzzle.replace(/\s/g, "").replaceAll("0", ".");
  const size = Math.sqrt(cells.length);
  return (
    <div className={classes.ask}>
      <form
        className={classes.row}
        onSubmit={(event) => {
          event.preventDefault();
          change({ index: String(index || 0), puzzle: undefined, at: undefined });
        }}
      >
        <NumberInput label="Of the test set" description="Counted from 0" min={0} allowDecimal={false} value={index} onChange={setIndex} w={130} data-testid="index" />
        <Button type="submit" variant="default" data-testid="follow-index">
          Follow it
        </Button>
      </form>
      <form
        className={classes.own}
        onSubmit={(event) => {
          event.preventDefault();
          change({ puzzle, index: undefined, at: undefined });
        }}
      >
        <Textarea
          label="Or your own"
          description="81, 36 or 16 characters in reading order, . or 0 for a blank; spaces and line breaks are skipped"
          autosize
          minRows={1}
          maxRows={10}
          spellCheck={false}
          value={puzzle}
          onChange={(event) => setPuzzle(event.currentTarget.value)}
          data-testid="puzzle-text"
        />
        <div className={classes.row} style={{ marginTop: 8, alignItems: "start" }}>
          <Button type="submit" variant="default" disabled={!puzzle.trim()} data-testid="follow-own">
            Follow it
          </Button>
          {[4, 6, 9].includes(size) && /^[1-9.]+$/.test(cells) && <PuzzleGrid size={size} question={cells} answer="" isSolved={false} />}
        </div>
      </form>
      <Select
        label="Beside"
        description="Another run’s answer to the same puzzle"
        placeholder="No other run"
        searchable
        clearable
        data={choices}
        value={search.beside ?? null}
        onChange={(beside) => change({ beside: beside ?? undefined })}
        data-testid="beside"
      />
    </div>
  );
}

interface AnswersProps {
  run: Run;
  ask: Ask;
  beside: string | undefined;
  pick: (puzzle: string) => void;
}

function Answers({ run, ask, beside, pick }: AnswersProps) {
  const isReadOnly = useReadOnly() !== undefined;
  const mine = useQuery(inspectionQuery(run.id, ask, isReadOnly));
  const otherRun = useQuery({ ...runQuery(beside ?? ""), enabled: beside !== undefined });
  // Both models see the very same puzzle, also where the other run's test set is another.
  const theirs = useQuery({ ...inspectionQuery(beside ?? "", mine.data ? sameAs(mine.data, ask) : ask, isReadOnly), enabled: beside !== undefined && mine.data !== undefined });
  if (mine.isError) return <Fault error={mine.error} retry={() => void mine.refetch()} />;
  if (!mine.data) return <Waiting />;
  const sides: [Followed, ...Followed[]] = [{ name: run.name, color: "var(--accent)", inspection: mine.data }];
  if (beside && theirs.data) sides.push({ name: otherRun.data?.name ?? beside, color: "var(--warn)", inspection: theirs.data });
  return (
    <>
      <About inspection={mine.data} pick={isReadOnly ? undefined : pick} />
      {theirs.isError && <Fault error={theirs.error} retry={() => void theirs.refetch()} />}
      <Shown key={mine.data.question} sides={sides} />
      {beside && theirs.isFetching && <Waiting />}
    </>
  );
}

/** Puzzles of ARC can't be typed: their identifiers are the training run's. */
function sameAs(inspection: Inspection, ask: Ask): Ask {
  return inspection.kind === "arc" ? ask : { puzzle: inspection.question };
}

const SETTLED_MS = 250;

/** The call at hand; the address follows once it stands still. */
function Shown({ sides }: { sides: [Followed, ...Followed[]] }) {
  const [search, change] = useSearch();
  const last = framesOf(sides[0].inspection) - 1;
  const [frame, setFrame] = useState(search.at === undefined ? last : Number(search.at) || 0);
  const [at, told] = [frame === last ? undefined : String(frame), search.at];
  useEffect(() => {
    if (at === told) return undefined;
    const timer = setTimeout(() => change({ at }), SETTLED_MS);
    return () => clearTimeout(timer);
  }, [at, told, change]);
  return <Player sides={sides} frame={frame} setFrame={setFrame} />;
}

function Waiting() {
  return (
    <div data-testid="waiting">
      <p className="muted">A worker follows the puzzle through the model. It goes before everything that waits, and takes seconds.</p>
      <Skeleton height={240} radius="lg" />
    </div>
  );
}

/** A puzzle that can't be asked is the asker's to change; anything else may be tried again. */
function Fault({ error, retry }: { error: Error; retry: () => void }) {
  const isRefused = error instanceof ApiError && error.status === 422;
  if (!isRefused) return <Failure error={error} retry={retry} compact />;
  return (
    <p role="alert" className={classes.fault} data-testid="puzzle-fault">
      {error.errors.map(({ message }) => message).join("; ") || messageOf(error)}
    </p>
  );
}

function About({ inspection, pick }: { inspection: Inspection; pick: ((puzzle: string) => void) | undefined }) {
  const { question, solution, solutions, kind } = inspection;
  return (
    <>
      {solutions === 0 && (
        <p className={classes.note} data-testid="solutions-note">
          This puzzle has no solution: watch what the model makes of it.
        </p>
      )}
      {solutions === 2 && (
        <p className={classes.note} data-testid="solutions-note">
          This puzzle has more than one solution: any that keeps the rules counts as solved.
        </p>
      )}
      {pick && kind === "sudoku" && solution && (
        <div className={classes.variants}>
          Ask the same with
          <Button size="compact-xs" variant="default" onClick={() => pick(filled(question, solution, 0.5))} data-testid="fill-half">
            half of the blanks filled
          </Button>
          <Button size="compact-xs" variant="default" onClick={() => pick(solution)} data-testid="fill-all">
            all filled
          </Button>
        </div>
      )}
    </>
  );
}
