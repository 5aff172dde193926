"""Puzzles on a terminal."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

SOLUTIONS = {0: "It has no solution.", 1: "It has one solution.", 2: "It has more than one solution."}


def inspection_view(inspection: dict[str, Any]) -> RenderableType:
    """The final grid, wrong cells in red, and what there is to say of it."""
    last = inspection["readings"][-1]
    broken = last["violations"]
    grid = Group(*_rows(inspection, last["cells"], set(broken)))
    verdict = (
        "Solved." if last["solved"] else f"Not solved: {len(broken)} cells break a rule." if broken else "Not solved."
    )
    lines = [verdict, SOLUTIONS.get(inspection["solutions"], "")]
    if broken:
        places = [f"row {cell // inspection['size'] + 1} column {cell % inspection['size'] + 1}" for cell in broken]
        lines.append("Against the rules: " + ", ".join(places[:12]) + (" …" if len(places) > 12 else ""))
    halting = 1 / (1 + math.exp(-last["halt_logit"]))
    confidence = min(last["confidences"])
    lines.append(f"Halting value {halting:.1%}; least confidence of a cell {confidence:.1%}.")
    return Group(grid, "", *(Text(line) for line in lines if line))


def _rows(inspection: dict[str, Any], cells: str, broken: Collection[int]) -> Iterator[Text]:
    """A line for each row; a Sudoku's boxes apart, its clues strong."""
    size, question = inspection["size"], inspection["question"]
    is_sudoku = inspection["kind"] == "sudoku"
    height = math.isqrt(size) if is_sudoku else size
    width = size // height if is_sudoku else size
    for row in range(size):
        line = Text()
        for column in range(size):
            cell = row * size + column
            style = "bold red" if cell in broken else "bold" if is_sudoku and question[cell] != "." else ""
            gap = "" if not is_sudoku or not column else "   " if column % width == 0 else " "
            line.append(gap + cells[cell], style=style)
        yield line
        if is_sudoku and (row + 1) % height == 0 and row + 1 < size:
            yield Text()
