"""Sudoku or mazes in the community's CSV format, read row by row and checked wholly. Never loads torch or numpy.

The header names the columns ``source,q,a,rating`` in any order (or ``question`` and ``answer`` in full), and no others: a
column that nobody reads is more often a mistake than wanted. A Sudoku's ``q`` is the puzzle with ``.`` or ``0`` for a
blank, ``a`` its solution, both 16, 36 or 81 characters in reading order. Whether the solution is the only one is not
checked: for the hardest puzzles that takes seconds. A maze is n² characters, ``#`` a wall, a space, ``S`` the start and
``G`` the goal; ``a`` marks a path with ``o``. Whether a shorter one exists is not checked either.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from operator import eq, itemgetter
from typing import BinaryIO, NamedTuple, Protocol

from laser_core.sudoku import units

COLUMNS = ("source", "q", "a", "rating")
_IN_FULL = {"question": "q", "answer": "a"}
SIZES = {16: 4, 36: 6, 81: 9}  # characters of a Sudoku -> side of the grid
MAX_MAZE_SIZE = 40
MAX_ROW_BYTES = 4000
MAX_SOURCE = 200


class PuzzleFileError(ValueError):
    """What is wrong with a puzzle file: ``line`` counts from 1, ``field`` is a column's name, or empty for the whole row."""

    def __init__(self, line: int, field: str, message: str) -> None:
        self.line, self.field, self.message = line, field, message
        super().__init__(f"line {line}{f', {field}' if field else ''}: {message}")


class PuzzleRow(NamedTuple):
    """One puzzle; blanks of a Sudoku's ``question`` are always ``.``."""

    source: str
    question: str
    answer: str
    rating: float


class PuzzleFile(NamedTuple):
    """A whole file: all its puzzles are of the same kind and ``size`` (side of the grid)."""

    size: int
    rows: list[PuzzleRow]


def parse_csv(stream: BinaryIO) -> PuzzleFile:
    """Reads the whole file. Raises PuzzleFileError for the first thing wrong with it."""
    rows = list(scan_csv(stream))
    return PuzzleFile(math.isqrt(len(rows[0].question)), rows)


def is_maze(question: str) -> bool:
    """Whether a question is a maze's; a Sudoku's has neither walls nor a start."""
    return "#" in question or "S" in question


def scan_csv(stream: BinaryIO) -> Iterator[PuzzleRow]:
    """The file's rows one at a time, holding only what finds duplicates; blank lines are skipped.

    Raises PuzzleFileError for the first thing wrong, also after good rows: trust none before the end.
    """
    lines = _lines(stream)
    order: list[int] | None = None
    first_line: dict[str, int] = {}
    check: _Checker | None = None
    for number, text in lines:
        fields = _fields(number, text)
        if order is None:
            order = _column_order(number, fields)
            continue
        if len(fields) != len(COLUMNS):
            raise PuzzleFileError(
                number, "", f"expected {len(COLUMNS)} columns ({','.join(COLUMNS)}), got {len(fields)}"
            )
        source, question, answer, rating = (fields[index] for index in order)
        question = question.replace("0", ".")
        check = check or (_MazeChecker if is_maze(question) else _SudokuChecker)(number, question)
        check.puzzle(number, question, answer)
        if question in first_line:
            raise PuzzleFileError(number, "q", f"duplicate of the puzzle in line {first_line[question]}")
        first_line[question] = number
        yield PuzzleRow(_source(number, source), question, answer, _rating(number, rating))
    if order is None:
        raise PuzzleFileError(1, "", f"the file is empty; expected the header {','.join(COLUMNS)}")
    if not first_line:
        raise PuzzleFileError(1, "", "the file has a header but no puzzles")


def _lines(stream: BinaryIO) -> Iterator[tuple[int, str]]:
    number = 0
    while raw := stream.readline(MAX_ROW_BYTES + 1):
        number += 1
        if b"\0" in raw:
            raise PuzzleFileError(number, "", "contains a NUL byte: a binary file? Expected CSV text")
        if len(raw) > MAX_ROW_BYTES:
            raise PuzzleFileError(number, "", f"longer than {MAX_ROW_BYTES} bytes; expected one puzzle per line")
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise PuzzleFileError(number, "", f"not UTF-8 text (byte {error.start + 1} of the line)") from None
        if text.strip():
            yield number, text


def _fields(number: int, text: str) -> list[str]:
    if '"' not in text:
        return text.split(",")
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as error:
        raise PuzzleFileError(number, "", f"broken quoting: {error}") from None


def _column_order(number: int, header: list[str]) -> list[int]:
    """Position of each of COLUMNS in the file."""
    header = [_IN_FULL.get(name.strip(), name.strip()) for name in header]
    wanted = f"expected the header {','.join(COLUMNS)}"
    for column in COLUMNS:
        if column not in header:
            raise PuzzleFileError(number, column, f"missing column; {wanted}")
    for name in header:
        if name not in COLUMNS:
            raise PuzzleFileError(number, name[:40], f"unknown column; {wanted}")
        if header.count(name) > 1:
            raise PuzzleFileError(number, name, f"column given twice; {wanted}")
    return [header.index(column) for column in COLUMNS]


class _Checker(Protocol):
    """Checks puzzles of the kind and size that the first one has."""

    def puzzle(self, number: int, question: str, answer: str) -> None:
        """Raises PuzzleFileError for what is wrong with the puzzle in line ``number``."""


class _SudokuChecker:
    def __init__(self, number: int, question: str) -> None:
        if len(question) not in SIZES:
            raise PuzzleFileError(number, "q", f"expected 81, 36 or 16 characters, got {len(question)}")
        self.cells = len(question)
        self.size = SIZES[self.cells]
        self.digits = "123456789"[: self.size]
        self.units = [itemgetter(*unit) for unit in units(self.size)]

    def puzzle(self, number: int, question: str, answer: str) -> None:
        wanted = f"1–{self.size}"
        _check_characters(number, "q", question, self.cells, self.digits + ".", f"{wanted}, with . or 0 for a blank")
        _check_characters(number, "a", answer, self.cells, self.digits, f"{wanted}, no blanks")
        for index, unit in enumerate(self.units):
            if len(set(unit(answer))) != self.size:
                name = f"{('row', 'column', 'box')[index // self.size]} {index % self.size + 1}"
                raise PuzzleFileError(number, "a", f"{name} doesn't hold each of 1–{self.size} once")
        if sum(map(eq, question, answer)) != self.cells - question.count("."):
            clash = next(i for i, clue in enumerate(question) if clue not in ("." + answer[i]))
            message = f"contradicts the clue {question[clash]} of q at character {clash + 1} with {answer[clash]}"
            raise PuzzleFileError(number, "a", message)


class _MazeChecker:
    def __init__(self, number: int, question: str) -> None:
        self.cells, self.size = len(question), math.isqrt(len(question))
        if self.size**2 != self.cells or not 2 <= self.size <= MAX_MAZE_SIZE:
            message = f"expected n² characters of a maze, n from 2 to {MAX_MAZE_SIZE}, got {self.cells}"
            raise PuzzleFileError(number, "q", message)

    def puzzle(self, number: int, question: str, answer: str) -> None:
        _check_characters(number, "q", question, self.cells, "# SG", "one of '#', ' ', 'S', 'G'")
        _check_characters(number, "a", answer, self.cells, "# SGo", "one of '#', ' ', 'S', 'G', 'o'")
        for end in "SG":
            if question.count(end) != 1:
                raise PuzzleFileError(number, "q", f"expected one {end}, got {question.count(end)}")
        unmarked = answer.replace("o", " ")
        if unmarked != question:
            clash = next(i for i, (was, now) in enumerate(zip(question, unmarked, strict=True)) if was != now)
            message = f"expected only spaces of q changed to o, character {clash + 1} is {answer[clash]!r}"
            raise PuzzleFileError(number, "a", f"{message} where q has {question[clash]!r}")
        if self._steps(answer) != answer.count("o") + 1:
            raise PuzzleFileError(number, "a", "the cells marked o aren't one path from S to G without detours")

    def _steps(self, answer: str) -> int:
        """Fewest steps from S to G over marked cells; 0 where they don't connect the two."""
        left = {index for index, character in enumerate(answer) if character in "oG"}
        goal, wave, steps = answer.index("G"), {answer.index("S")}, 0
        while wave:
            if goal in wave:
                return steps
            steps, wave = steps + 1, {near for cell in wave for near in self._neighbours(cell)} & left
            left -= wave
        return 0

    def _neighbours(self, cell: int) -> Iterator[int]:
        column = cell % self.size
        yield from (cell - self.size, cell + self.size)
        if column > 0:
            yield cell - 1
        if column < self.size - 1:
            yield cell + 1


def _check_characters(number: int, field: str, text: str, cells: int, allowed: str, wanted: str) -> None:
    if len(text) != cells:
        raise PuzzleFileError(number, field, f"expected {cells} characters like the rows above, got {len(text)}")
    if not set(text) <= set(allowed):
        where = next(index for index, character in enumerate(text) if character not in allowed)
        raise PuzzleFileError(number, field, f"character {where + 1} is {text[where]!r}; expected {wanted}")


def _source(number: int, text: str) -> str:
    if len(text) > MAX_SOURCE or not text.isprintable():
        raise PuzzleFileError(number, "source", f"expected at most {MAX_SOURCE} printable characters")
    return text


def _rating(number: int, text: str) -> float:
    """Difficulty as the source counts it; empty is 0."""
    try:
        rating = float(text or 0)
    except ValueError:
        rating = math.nan
    if not math.isfinite(rating):
        raise PuzzleFileError(number, "rating", f"expected a number or nothing, got {text[:40]!r}")
    return rating
