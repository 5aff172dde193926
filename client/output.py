"""Where the command line writes: answers to standard output, everything else to standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console

from client.errors import LaserError
from client.render import escape

WIDTH_ELSEWHERE = 160  # where no terminal says how wide it is: nothing should be cut off in a pipe or a file


def _console(stderr: bool) -> Console:
    console = Console(stderr=stderr)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDTH_ELSEWHERE
    return console


out = _console(stderr=False)
notes = _console(stderr=True)


def print_json(value: Any) -> None:
    """One JSON document on standard output; a line of its own when it is one of many."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_error(error: LaserError, as_json: bool) -> None:
    """An error that the user can do something about."""
    if as_json:
        print_json(error.to_json())
        return
    notes.print(f"[bold red]Error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)


def plainly(console: Console) -> Callable[[str], None]:
    """Prints a line as it is: no markup, no colours, no breaks."""
    return lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True)
