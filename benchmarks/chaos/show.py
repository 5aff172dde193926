"""Progress in the terminal: a bar for each thing counted; elsewhere a line now and then."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

PLAIN_EVERY_S = 30.0


@contextlib.contextmanager
def showing(*counted: str | int) -> Iterator[Callable[..., None]]:
    """``with showing("faults", 200, "runs", 100) as tell: tell(3, 1, "kill-api")``."""
    names, totals = [str(each) for each in counted[::2]], [int(each) for each in counted[1::2]]
    console = Console(stderr=True)
    # Refreshed by hand and not by a thread: children are forked from this process meanwhile.
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(*columns, TextColumn("{task.fields[note]}"), console=console, auto_refresh=False)
    tasks = [progress.add_task(name, total=total, note="") for name, total in zip(names, totals, strict=True)]
    told_at = time.monotonic()

    def tell(*values: int | str) -> None:
        nonlocal told_at
        *done, note = values
        for task, value in zip(tasks, done, strict=True):
            progress.update(task, completed=int(value), note=note if task == tasks[0] else "")
        if console.is_terminal:
            progress.refresh()
        elif time.monotonic() - told_at > PLAIN_EVERY_S:
            told_at = time.monotonic()
            counts = [f"{value} of {total} {name}" for value, total, name in zip(done, totals, names, strict=True)]
            console.print(f"chaos: {', '.join(counts)} {note}", highlight=False)

    with progress if console.is_terminal else contextlib.nullcontext():
        yield tell
