"""``laser demo``: plain and LASER training of a tiny Sudoku model in pairs of equal seed, through the platform itself.

All variants run under equal conditions: the stack trains as many runs at once as there are cores (four at most), each with
its share of the threads, and every other seed has the variants in reversed order, so that none always starts first.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from client.board import Board
from client.errors import BadInput, LaserError, Unreachable
from client.home import DEFAULT_URL, Home
from client.http import FINAL_STATES, Client, Json
from client.output import plainly
from client.ports import free_port
from client.render import comparison_table, escape, percent, value_of
from client.stack import Options, running_here, running_stack

BASELINE = "none"
TAG = "demo"
MARGIN = 2.0  # percentage points
PRESETS = ("demo", "sudoku-4x4-none")
POLL_S = 0.5
PATIENCE_S = 90.0  # how long the platform may be away: the stack restarts what dies
WORKER_STOP_S = 20.0

Tend = Callable[[], None]


@dataclass(frozen=True)
class Plan:
    """What to train; ``steps`` and ``puzzles`` (unseen ones to measure on) None for the preset's own."""

    seeds: int
    variants: tuple[str, ...]
    steps: int | None = None
    puzzles: int | None = None
    keep_going: bool = False


@dataclass(frozen=True)
class Outcome:
    """``report`` is what demo-report.json holds, ``comparison`` the answer of GET /compare."""

    report: Json
    comparison: Json

    @property
    def finding(self) -> str:
        """What was found, in a few words."""
        done = sum(run["state"] == "succeeded" for run in self.report["runs"])
        words = [f"{done} of {len(self.report['runs'])} runs succeeded"]
        for group in self.comparison["groups"]:
            accuracy, fraction = group["exact_accuracy"]["mean"], group["saved_fraction"]
            kept = f", keeping {percent(fraction)} of the activation bytes" if group["variant"] != BASELINE else ""
            words.append(f"{group['variant']} solves {percent(accuracy)}{kept}")
        return "; ".join(words)

    @property
    def is_good(self) -> bool:
        """Whether every run succeeded."""
        return all(run["state"] == "succeeded" for run in self.report["runs"])


@contextmanager
def platform(home: Home, console: Console) -> Iterator[tuple[str, Tend, bool]]:
    """Address of a platform, what to call while waiting, and whether it was started for this. One that runs is taken."""
    if os.environ.get("LASER_URL"):
        yield home.url(), lambda: None, False
        return
    if running := running_here(home):
        yield running.url, lambda: None, False
        return
    port = free_port(int(DEFAULT_URL.rpartition(":")[2]))
    with running_stack(home, Options(port, worker_stop_s=WORKER_STOP_S), plainly(console)) as stack:
        yield stack.url, stack.tend, True


def run_demo(client: Client, plan: Plan, console: Console, tend: Tend) -> Outcome:
    """Trains, watches and compares, as an experiment of the platform. Interrupted, it cancels its runs."""
    config = experiment(_preset(client), plan)
    made: Json | None = None
    try:
        made = client.experiments.submit(config)
        found = sorted(client.iter_runs(tag=made["id"], limit=200), key=lambda run: run["number"])
        runs = _watch(client, found, plan.keep_going, console, tend)
    except BaseException:
        if made is not None:
            with suppress(LaserError):  # it may have gone with the platform
                client.experiments.cancel(made["id"])
        raise
    comparison = client.compare([run["id"] for run in runs])
    return Outcome(_report(runs, comparison, f"{client.url}/experiments/{made['id']}"), comparison)


def experiment(preset: Json, plan: Plan) -> Json:
    """The preset with every variant for every seed."""
    variants = list(dict.fromkeys((BASELINE, *plan.variants)))
    if len(variants) < 2:
        raise BadInput(f"--variants: name at least one store beside {BASELINE}, such as laser-fused")
    own = preset.get("store", {})
    base = {**preset, "tags": list(dict.fromkeys((*preset.get("tags", ()), TAG)))}
    base.pop("store", None)
    if plan.steps is not None:
        base["training"] = {**preset.get("training", {}), "steps": plan.steps}
    if plan.puzzles is not None:
        base["task"] = {**preset.get("task", {}), "test_puzzles": plan.puzzles}
    stores = {kind: own if own.get("kind") == kind else {"kind": kind} for kind in variants}
    return {
        "name": "demo",
        "margin": MARGIN,
        "seeds": plan.seeds,
        "variants": {kind: {"store": store} for kind, store in stores.items()},
        "base": base,
    }


def require_writable(report: Path) -> None:
    """Raises BadInput when the report could not be written at the end, minutes from now."""
    with _reported(report) as partial:
        partial.touch()


def write_report(path: Path, report: Json) -> None:
    """Writes demo-report.json whole or not at all. Raises BadInput."""
    with _reported(path) as partial:
        with partial.open("w") as file:
            json.dump(report, file, indent=2, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)


def print_outcome(outcome: Outcome, console: Console) -> None:
    """The table, the sentence, and one line of what was found."""
    console.print()
    console.print(comparison_table(outcome.comparison))
    console.print()
    console.print(escape(outcome.report["summary"]))


# --- watching ----------------------------------------------------------------------------------------------------------


def _preset(client: Client) -> Json:
    presets = {preset["name"]: preset["config"] for preset in client.presets()}
    for name in PRESETS:
        if name in presets:
            return dict(presets[name])
    raise BadInput(f"{client.url} has no preset named {PRESETS[0]!r}; is it of another version?")


def _watch(client: Client, runs: list[Json], keep_going: bool, console: Console, tend: Tend) -> list[Json]:
    """The runs once all have ended. When one doesn't succeed, the rest is cancelled unless told to keep going."""
    ids = [run["id"] for run in runs]
    newest = {run["id"]: run for run in runs}
    seen_s = time.monotonic()
    with Board(console) as board:
        while True:
            tend()
            try:
                newest |= {run["id"]: run for run in client.iter_runs(id=ids, limit=200)}
                seen_s = time.monotonic()
            except Unreachable:
                if time.monotonic() - seen_s > PATIENCE_S:
                    raise
            runs = [newest[run_id] for run_id in ids]
            board.update(runs)
            if all(run["state"] in FINAL_STATES for run in runs):
                return runs
            if not keep_going and any(run["state"] in FINAL_STATES - {"succeeded"} for run in runs):
                _cancel(client, runs)
                keep_going = True
            time.sleep(POLL_S)


def _cancel(client: Client, runs: list[Json]) -> None:
    for run in runs:
        if run["state"] not in FINAL_STATES:
            with suppress(LaserError):  # it may have ended by now
                client.cancel(run["id"])


def _report(runs: list[Json], comparison: Json, url: str) -> Json:
    rows = [
        {
            "id": run["id"],
            "variant": run["store_kind"],
            "seed": run["seed"],
            "state": run["state"],
            "exact_accuracy": value_of(run, "exact_accuracy"),
            "saved_bytes": _whole(value_of(run, "saved_bytes")),
            "eager_bytes": _whole(value_of(run, "eager_bytes")),
            "step_time_s": value_of(run, "step_time_s"),
        }
        for run in sorted(runs, key=lambda run: run["number"])
    ]
    return {"runs": rows, "url": url, "summary": comparison["summary"]}


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


@contextmanager
def _reported(path: Path) -> Iterator[Path]:
    partial = path.with_name(path.name + ".tmp")
    try:
        yield partial
    except OSError as error:
        raise BadInput(f"{path} can't be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            partial.unlink()
