"""One puzzle as people type or paste it: Sudokus of 81, 36 or 16 characters with ``.`` or ``0`` for a blank, mazes of n²
characters of ``# SG``. Says what is wrong with it, and how many solutions it has. Never loads torch or numpy.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from laser_core.puzzle_file import MAX_MAZE_SIZE, SIZES, is_maze
from laser_core.sudoku import Cells, GuessLimit, solutions, units

MOST_GUESSES = 20_000  # of the solver: about two seconds
MAZE_CHARACTERS = "# SG"


def plain(text: str) -> str:
    """The cells in reading order: line breaks are dropped, of a Sudoku blanks too, and ``0`` becomes ``.``."""
    lines = text.replace("\r", "").replace("\n", "")
    return lines if is_maze(lines) else "".join(lines.split()).replace("0", ".")


def size_of(cells: str) -> int:
    """Side of the grid."""
    return math.isqrt(len(cells))


def fault(text: str) -> str:
    """What is wrong with a puzzle, in words; empty for one that may be asked."""
    cells = plain(text)
    return _maze_fault(cells) if is_maze(cells) else _sudoku_fault(cells)


def solve(cells: str) -> tuple[int | None, str]:
    """Of a Sudoku: how many solutions it has, 2 for more than one, and the only one, else empty. (None, "") where the
    solver gave up."""
    size = size_of(cells)
    clues: Cells = tuple(int(cell) if cell != "." else 0 for cell in cells)
    try:
        found = list(islice(solutions(clues, size, MOST_GUESSES), 2))
    except GuessLimit:
        return None, ""
    return len(found), "".join(map(str, found[0])) if len(found) == 1 else ""


def clashes(cells: str) -> Iterator[tuple[str, int, str]]:
    """Every (row, column or box; its number from 1; digit) that holds the digit twice or more."""
    size = size_of(cells)
    for index, unit in enumerate(units(size)):
        for digit, count in Counter(cells[cell] for cell in unit).items():
            if count > 1 and digit != ".":
                yield ("row", "column", "box")[index // size], index % size + 1, digit


def _sudoku_fault(cells: str) -> str:
    if len(cells) not in SIZES:
        return f"expected 81, 36 or 16 characters (9×9, 6×6, 4×4), with . or 0 for a blank; got {len(cells)}"
    size = SIZES[len(cells)]
    allowed = "." + "123456789"[:size]
    wrong = next((i for i, cell in enumerate(cells) if cell not in allowed), None)
    if wrong is not None:
        return f"character {wrong + 1} is {cells[wrong]!r}; expected 1–{size}, with . or 0 for a blank"
    for name, number, digit in clashes(cells):
        return f"invalid puzzle: two {digit}s in {name} {number}"
    return ""


def _maze_fault(cells: str) -> str:
    size = size_of(cells)
    if size**2 != len(cells) or not 2 <= size <= MAX_MAZE_SIZE:
        return f"expected n² characters of a maze, n from 2 to {MAX_MAZE_SIZE}, got {len(cells)}"
    wrong = next((i for i, cell in enumerate(cells) if cell not in MAZE_CHARACTERS), None)
    if wrong is not None:
        return f"character {wrong + 1} is {cells[wrong]!r}; expected one of '#', ' ', 'S', 'G'"
    ends = {end: cells.count(end) for end in "SG"}
    bad = next((end for end, count in ends.items() if count != 1), None)
    return f"expected one {bad}, got {ends[bad]}" if bad else ""
