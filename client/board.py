"""Live view of several runs: a bar each in a terminal; elsewhere a line for every new state and quarter."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from client.http import FINAL_STATES, Json
from client.render import STATE_COLOURS, duration, escape, percent, value_of


class Board:
    """Use as ``with Board(console) as board``, and ``update`` it with the runs' newest summaries."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stages: dict[str, tuple[str, int]] = {}
        self._tasks: dict[str, TaskID] = {}
        # Refreshed by update() and not by a thread: children are started from this process meanwhile, by fork.
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[note]}"),
            console=console,
            auto_refresh=False,
        )

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._console.is_terminal:
            self._progress.stop()

    def update(self, runs: Iterable[Json]) -> None:
        """Shows ``runs`` as they are now."""
        for run in runs:
            if self._console.is_terminal:
                self._move_bar(run)
            else:
                self._print_news(run)
        if self._console.is_terminal:
            self._progress.refresh()

    def _print_news(self, run: Json) -> None:
        share = run["step"] / run["steps"] if run["steps"] else 0.0
        stage = (run["state"], int(4 * share) if run["state"] == "running" else 0)
        if self._stages.get(run["id"]) != stage:
            self._stages[run["id"]] = stage
            shown = f"{label(run)} {run['state']:<9} {share:4.0%} {_note(run)}"
            self._console.print(shown.rstrip(), highlight=False, soft_wrap=True)

    def _move_bar(self, run: Json) -> None:
        task = self._tasks.get(run["id"])
        if task is None:
            task = self._progress.add_task(label(run), start=False, note="", left="")
            self._tasks[run["id"]] = task
        if run["state"] != "queued" and not self._progress.tasks[task].started:
            self._progress.start_task(task)
        if run["state"] in FINAL_STATES:
            self._progress.stop_task(task)
        colour = STATE_COLOURS.get(run["state"], "default")
        note = f"[{colour}]{run['state']}[/] {_note(run)}"
        self._progress.update(task, completed=run["step"], total=run["steps"] or None, note=note, left=_left(run))


def label(run: Json) -> str:
    """Variant and seed in columns."""
    return escape(f"{run['store_kind']:<12} seed {run['seed']}")


def _note(run: Json) -> str:
    if run["state"] == "succeeded":
        return f"{percent(value_of(run, 'exact_accuracy'))} solved"
    if run["reason"]:
        return escape(run["reason"])
    loss = (run.get("latest") or {}).get("train.loss")
    step_s = value_of(run, "step_time_s")
    parts = [f"loss {loss:.3f}"] if isinstance(loss, int | float) else []
    return ", ".join([*parts, f"{duration(step_s)} a step"] if step_s else parts)


def _left(run: Json) -> str:
    step_s = run["step_time_s"]
    if run["state"] != "running" or not step_s:
        return ""
    return f"{duration((run['steps'] - run['step']) * step_s)} left"
