"""Accuracy of every store beside plain training, over paired seeds; verdicts by ``laser_core.verdicts``."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from benchmarks.accuracy import TASKS, Task
from benchmarks.book.figures import COLOURS, Mark, Panel, figure
from benchmarks.book.page import (
    FAILS,
    HOLDS,
    OPEN,
    Section,
    answer_of,
    between,
    csv_rows,
    loaded,
    machine_of,
    missing,
    number,
    p_value,
    percent,
    spread,
    table,
)
from laser_core.verdicts import ALPHA, Verdict, verdict

COMMAND = "make accuracy"
BASELINE, OURS = "none", "laser-coded"
WANTED = {"equivalence": (98.0, 100.0), "non-inferiority": (60.0, 95.0)}  # the baseline's mean, per cent
FELL = 2.0  # points below a seed's own best that count as a late fall
LOOKED_AT = {"4x4": (0, 1)}  # seeds run at an earlier setting of OURS, before it was made finer; then run anew
RAW = ("accuracy.csv", "accuracy_curves.csv")

Rows = dict[str, dict[int, dict[str, float]]]  # store -> seed -> values, accuracy in per cent
Curves = dict[str, dict[int, list[tuple[float, float]]]]


def sections(folder: Path) -> list[Section]:
    """One section per task of ``benchmarks.accuracy``."""
    rows, curves = _rows(folder / RAW[0]), _curves(folder / RAW[1])
    made = [_section(name, task, rows.get(name, {}), curves.get(name, {})) for name, task in TASKS.items()]
    strangers = sorted(set(rows) - set(TASKS))
    if strangers:
        raise SystemExit(f"{folder / RAW[0]}: rows of {', '.join(strangers)}, expected tasks {', '.join(TASKS)}")
    return [*made, _bitwise(folder)]


def _bitwise(folder: Path) -> Section:
    claim = "gradient checkpointing ends with the same weights as plain training, to the bit"
    command = "python -m benchmarks.bitwise"
    name, report = loaded(folder, "bitwise.json")
    if not report:
        return missing("Checkpointing is exact", claim, command)
    plain = {row["block"]: row["weights_sha256"] for row in report["rows"] if row["store"] == BASELINE}
    rows = [row for row in report["rows"] if row["store"] != BASELINE]
    lines = [
        (row["block"], row["store"], f"{row['steps']:g}", row["weights_sha256"][:12], plain[row["block"]][:12])
        for row in rows
    ]
    return Section(
        "Checkpointing is exact", claim, answer_of([row["weights_sha256"] == plain[row["block"]] for row in rows]),
        command, (name,), f"The 4×4 task above, seed 0; {machine_of(report)}.",
        [table(("block", "store", "steps", "sha256 of the final weights", f"with `{BASELINE}`"), lines)],
    )  # fmt: skip


def _section(name: str, task: Task, rows: Rows, curves: Curves) -> Section:
    word = "equivalent to" if task.question == "equivalence" else "not inferior to"
    claim = f"on {name} Sudoku `{OURS}` is {word} plain training, margin {task.margin:.1f} percentage points, fixed beforehand"
    title, command = f"Accuracy: {name} Sudoku", f"{COMMAND} ARGS='--only {name}'"
    if not rows:
        return missing(title, claim, command)
    verdicts = {store: _verdict(rows, store, task.margin) for store in task.seeds if store != BASELINE}
    training = task.config["training"]
    setting = (
        f"{f'{task.note} ' if task.note else ''}One thread per run; {training['steps']} steps of batch "
        f"{training['batch_size']}; the averaged weights after the last step count, never the best. "
        "Seeds are paired: the same puzzles, weights and batches. The difference has its 95 % "
        "interval (paired t); all tests are at .05; too few seeds: under 6 pairs. Step times are not paired."
    )
    return Section(
        title, claim, _answer(task, verdicts[OURS], task.seeds[OURS]), command,
        RAW if curves else RAW[:1], setting,
        [_accuracies(task, rows), _tests(task, verdicts)], _looked_at(name, task, rows) + _failed(task, rows, curves, verdicts),
        {f"accuracy-{name}.svg": _drawn(task, curves)} if curves else {},
    )  # fmt: skip


def _rows(path: Path) -> dict[str, Rows]:
    found: dict[str, Rows] = defaultdict(lambda: defaultdict(dict))
    for row in csv_rows(path):
        values = {key: float(row[key]) for key in ("saved_bytes", "eager_bytes", "step_time_s")}
        found[row["task"]][row["store"]][int(row["seed"])] = values | {"exact": 100 * float(row["exact_accuracy"])}
    return found


def _curves(path: Path) -> dict[str, Curves]:
    found: dict[str, Curves] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for row in csv_rows(path):
        point = float(row["step"]), 100 * float(row["exact_accuracy"])
        found[row["task"]][row["store"]][int(row["seed"])].append(point)
    return found


def _exact(rows: Rows, store: str) -> list[float]:
    return [values["exact"] for values in rows.get(store, {}).values()]


def _verdict(rows: Rows, store: str, margin: float, without: Sequence[int] = ()) -> Verdict:
    both = sorted((rows.get(BASELINE, {}).keys() & rows.get(store, {}).keys()) - set(without))
    baseline, variant = ([rows[name][seed]["exact"] for seed in both] for name in (BASELINE, store))
    return verdict(baseline, variant, margin)


def _looked_at(name: str, task: Task, rows: Rows) -> list[str]:
    """The verdict without the seeds that had a part in choosing the setting."""
    seeds = LOOKED_AT.get(name, ())
    found = _verdict(rows, OURS, task.margin, seeds)
    if not seeds or not found.t:
        return []
    interval = between((found.t.low, found.t.high), 2)
    return [
        f"Seeds {', '.join(map(str, seeds))} had been run at a coarser setting of `{OURS}`, one fell late, and the default was "
        f"made finer (see [experiments.md](../experiments.md)). Without them, on {found.pairs} pairs: {_told(task, found)}, "
        f"{number(found.mean, 2)} points ({interval})."
    ]


def _told(task: Task, found: Verdict) -> str:
    """The task's own question answered, then the general verdict."""
    if not found.pairs:
        return OPEN
    if task.question == "equivalence" or found.answer == "too few seeds":
        return found.answer
    return ("non-inferior" if found.non_inferior else "not shown to be non-inferior") + f"; {found.answer}"


def _answer(task: Task, found: Verdict, planned: int) -> str:
    if not found.pairs:
        return OPEN
    shown = found.answer == "equivalent" if task.question == "equivalence" else found.non_inferior
    word = HOLDS if shown else FAILS if found.answer == "worse" else "undecided"
    unfinished = found.pairs < planned
    word = f"undecided, {found.pairs} of {planned} pairs so far" if unfinished else word
    return f"{word} ({_told(task, found)}{' as far as they go' if unfinished else ''})"


def _accuracies(task: Task, rows: Rows) -> str:
    lines = []
    for store, planned in task.seeds.items():
        runs = list(rows.get(store, {}).values())
        held = statistics.fmean(run["saved_bytes"] / run["eager_bytes"] for run in runs) if runs else None
        time = statistics.median(run["step_time_s"] for run in runs) * 1e3 if runs else None
        lines.append(
            (store, f"{len(runs)} of {planned}", spread(_exact(rows, store), 2), percent(held), number(time, 0))
        )
    return table(("store", "seeds", "exact %, mean (least–most)", "bytes, eager = 100 %", "step ms, median"), lines)


def _tests(task: Task, verdicts: dict[str, Verdict]) -> str:
    equal = task.question == "equivalence"
    lines = []
    for store, found in verdicts.items():
        own = (found.tost.p if found.tost else None) if equal else found.non_inferiority_p
        interval = between((found.t.low, found.t.high), 2) if found.t else "–"
        lines.append((
            store, f"{found.pairs} of {task.seeds[store]}", number(found.mean, 2), interval,
            p_value(found.t.p if found.t else None), p_value(found.sign_flip_p), p_value(own),
            str(found.pairs_needed or "–"), _told(task, found),
        ))  # fmt: skip
    name = f"TOST p, ±{task.margin:g}" if equal else f"non-inferiority p, -{task.margin:g}"
    head = (f"store, against {BASELINE}", "pairs", "difference, points", "95 % interval", "t-test p", "sign-flip p", name,
            "pairs for power .8", "verdict")  # fmt: skip
    return table(head, lines)


def _failed(task: Task, rows: Rows, curves: Curves, verdicts: dict[str, Verdict]) -> list[str]:
    lines = []
    low, high = WANTED[task.question]
    plain = _exact(rows, BASELINE)
    if plain and not low <= statistics.fmean(plain) <= high:
        lines.append(
            f"`{BASELINE}` was meant to end between {low:g} and {high:g} %; it ends at {statistics.fmean(plain):.2f} %."
        )
    for store, found in verdicts.items():
        planned = min(task.seeds[store], task.seeds[BASELINE])
        if found.pairs < planned:
            lines.append(f"`{store}`: {found.pairs} of {planned} pairs; the others have not been run.")
        if found.answer == "equivalent" and found.t and max(found.t.p, found.sign_flip_p or 0) < ALPHA:
            lines.append(
                f"`{store}`: the difference of {number(found.mean, 2)} points is inside the margin, and yet significant."
            )
        if found.answer == "worse":
            lines.append(f"`{store}` is worse than `{BASELINE}` by {number(-(found.mean or 0), 2)} points.")
    for store in task.seeds:
        for seed, curve in sorted(curves.get(store, {}).items()):
            (best_at, best), last = max(curve, key=lambda point: point[1]), curve[-1][1]
            if best - last > FELL:
                lines.append(
                    f"`{store}`, seed {seed}, fell from {best:.1f} % at step {best_at:g} to {last:.1f} % at the end."
                )
    return lines


def _drawn(task: Task, curves: Curves) -> str:
    points = [y for seeds in curves.values() for curve in seeds.values() for _, y in curve]
    panels = [
        Panel(
            f"{store}, {len(curves[store])} of {planned} seeds", "training step", "exact %",
            [Mark(sorted(curve), COLOURS[seed % len(COLOURS)]) for seed, curve in sorted(curves[store].items())],
            x_range=(0.0, float(task.config["training"]["steps"])), y_range=(min(points), 100.0),
        )
        for store, planned in task.seeds.items() if curves.get(store)
    ]  # fmt: skip
    return figure(panels, 3)
