"""Sudoku of 4×4, 6×6 and 9×9: units, a solver, generation with unique solutions, and a key that symmetries can't change.

A puzzle is a tuple of cells in reading order, 0 for a blank, else the digit. The solver keeps, for every digit, the set of
cells that may still hold it as one integer with a bit per cell. This module loads neither torch nor numpy.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from itertools import islice

Cells = tuple[int, ...]
Boards = list[int]  # index digit - 1 -> bits of the cells that may hold it

BOXES = {4: (2, 2), 6: (2, 3), 9: (3, 3)}  # size -> rows and columns of a box


def box_shape(size: int) -> tuple[int, int]:
    """Rows and columns of a box. Raises ValueError for a size that isn't 4, 6 or 9."""
    if size not in BOXES:
        raise ValueError(f"size: expected one of 4, 6, 9, got {size}")
    return BOXES[size]


@functools.cache
def units(size: int) -> tuple[tuple[int, ...], ...]:
    """Cell indices of every row, column and box: ``3 * size`` tuples of ``size`` cells."""
    height, width = box_shape(size)
    rows = [tuple(row * size + column for column in range(size)) for row in range(size)]
    columns = list(zip(*rows, strict=True))
    boxes = [
        tuple((top + row) * size + left + column for row in range(height) for column in range(width))
        for top in range(0, size, height)
        for left in range(0, size, width)
    ]
    return (*rows, *columns, *boxes)


def is_solution(cells: Cells, size: int) -> bool:
    """Whether every row, column and box holds each digit once."""
    digits = set(range(1, size + 1))
    return all({cells[cell] for cell in unit} == digits for unit in units(size))


# --- solving -----------------------------------------------------------------------------------------------------------


class GuessLimit(Exception):
    """The search was given up."""


def solutions(puzzle: Cells, size: int, most_guesses: int | None = None) -> Iterator[Cells]:
    """Every solution of the puzzle, one at a time. Raises GuessLimit where it would take more than ``most_guesses``."""
    left = None if most_guesses is None else iter(range(most_guesses))
    return _search(_boards(puzzle, size), 0, size, None, left)


def is_unique(puzzle: Cells, size: int) -> bool:
    """Whether the puzzle has exactly one solution."""
    return len(list(islice(solutions(puzzle, size), 2))) == 1


@functools.cache
def _peers(size: int) -> dict[int, int]:
    """Bit of a cell -> bits of the cells that may not hold its digit."""
    peers = {1 << cell: 0 for cell in range(size * size)}
    for unit in units(size):
        bits = sum(1 << cell for cell in unit)
        for cell in unit:
            peers[1 << cell] |= bits & ~(1 << cell)
    return peers


def _boards(puzzle: Cells, size: int) -> Boards:
    everywhere, peers = (1 << size * size) - 1, _peers(size)
    taken, boards = 0, [everywhere] * size
    for cell, digit in enumerate(puzzle):
        if digit:
            taken |= 1 << cell
            boards[digit - 1] &= ~peers[1 << cell]
    givens = [0] * size
    for cell, digit in enumerate(puzzle):
        if digit:
            givens[digit - 1] |= 1 << cell
    return [board & (given | ~taken) for board, given in zip(boards, givens, strict=True)]


def _search(
    boards: Boards, fixed: int, size: int, rng: random.Random | None, guesses: Iterator[int] | None = None
) -> Iterator[Cells]:
    """Depth-first search; ``fixed`` holds the cells whose digit was already struck from their peers."""
    everywhere, peers = (1 << size * size) - 1, _peers(size)
    while True:
        one = two = three = 0  # cells with at least so many candidates
        for board in boards:
            three |= two & board
            two |= one & board
            one |= board
        if one != everywhere:
            return
        single = one & ~two & ~fixed
        if not single:
            break
        fixed |= single
        for index, board in enumerate(boards):
            new, struck = board & single, 0
            while new:
                bit = new & -new
                struck |= peers[bit]
                new ^= bit
            boards[index] = board & ~struck
    if not two:
        yield _cells(boards, size)
        return
    open_cells = two & ~three or two
    cell = open_cells & -open_cells
    digits = [index for index, board in enumerate(boards) if board & cell]
    if rng:
        rng.shuffle(digits)
    for digit in digits:
        if guesses is not None and next(guesses, None) is None:
            raise GuessLimit
        yield from _search([b if i == digit else b & ~cell for i, b in enumerate(boards)], fixed, size, rng, guesses)


def _cells(boards: Boards, size: int) -> Cells:
    return tuple(
        next(digit for digit, board in enumerate(boards, 1) if board >> cell & 1) for cell in range(size * size)
    )


# --- generation --------------------------------------------------------------------------------------------------------


def random_solution(size: int, rng: random.Random) -> Cells:
    """A complete grid, drawn at random (not uniformly)."""
    first_row = list(range(1, size + 1))
    rng.shuffle(first_row)
    return next(_search(_boards((*first_row, *[0] * (size * size - size)), size), 0, size, rng))


def removable(solution: Cells, size: int, most: int, rng: random.Random) -> list[int]:
    """Cells, in the order removed, that can be blanked together while the solution stays unique; at most ``most``.

    With ``most`` at the number of cells the result is a minimal puzzle: no clue left could go.
    """
    order = list(range(size * size))
    removed: list[int] = []
    rng.shuffle(order)
    puzzle = list(solution)
    for cell in order:
        if len(removed) == most:
            break
        puzzle[cell] = 0
        boards = _boards(tuple(puzzle), size)
        boards[solution[cell] - 1] &= ~(1 << cell)  # any solution left has another digit here
        if next(_search(boards, 0, size, None), None) is None:
            removed.append(cell)
        else:
            puzzle[cell] = solution[cell]
    return removed


def blanked(solution: Cells, removed: list[int]) -> Cells:
    """The solution with the named cells blank."""
    puzzle = list(solution)
    for cell in removed:
        puzzle[cell] = 0
    return tuple(puzzle)
