"""Mazes: random walls, the farthest pair of cells as start and goal, a shortest path between them; and who solves one.

Two cells are neighbours when they share a side. All mazes of a batch are searched at once: each is N rows of N bits, and
one breadth-first wave is a few shifts. Shapes: M mazes, N side of the grid (at most 62), S cells (N²).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

SYMBOLS = "# SGo"  # in the order of their tokens
WALL, OPEN, START, GOAL, PATH = range(1, 6)  # tokens, as in the official TRM data; 0 is padding
VOCAB_SIZE = 6

Boards = NDArray[np.int64]  # (M, N): bit c of row r is the cell (r, c)
Tokens = NDArray[np.uint8]  # (M, S)


class Mazes(NamedTuple):
    """M mazes and their solutions as tokens, each path's length in steps, and whether it is the only shortest one."""

    questions_MS: Tokens
    answers_MS: Tokens
    steps_M: NDArray[np.int64]
    is_unique_M: NDArray[np.bool_]


def draw(count: int, size: int, walls: float, generator: torch.Generator) -> Mazes:
    """Random mazes: each cell is a wall with chance ``walls``; start and goal are found by two breadth-first searches.

    The start is a cell farthest from a random one, the goal a cell farthest from the start. A maze may be as poor as
    one cell that is both (``steps_M`` 0); the caller takes what it wants. Among equal paths the one whose cells come
    first in reading order, seen from the goal, is the solution.
    """
    is_open: NDArray[np.bool_] = (torch.rand(count, size * size, generator=generator) >= walls).numpy()
    anywhere: NDArray[np.float32] = torch.rand(count, size * size, generator=generator).numpy()
    seed = np.zeros((count, size * size), np.bool_)
    seed[np.arange(count), np.argmax(is_open * anywhere, axis=1)] = True
    open_ = pack(is_open)
    start = _farthest(list(_waves(pack(seed) & open_, open_)))
    waves = list(_waves(start, open_))
    goal = _farthest(waves)
    steps = np.full(count, -1)
    path, onward = np.zeros_like(goal), np.zeros_like(goal)
    widest = np.zeros(count, np.int64)  # most cells that shortest paths offer at one step
    every = np.zeros_like(goal)
    for step in reversed(range(len(waves))):
        here: NDArray[np.bool_] = np.asarray((waves[step] & goal).any(1))
        steps[here] = step
        begins = goal * here[:, None]
        every = (_spread(every) & waves[step]) | begins
        onward = _first(_spread(onward) & waves[step]) | begins
        path |= onward
        widest = np.maximum(widest, unpack(every).sum(1))
    questions = np.where(is_open, OPEN, WALL).astype(np.uint8)
    answers = np.where(unpack(path), PATH, questions).astype(np.uint8)
    for tokens in (questions, answers):
        tokens[unpack(start)] = START
        tokens[unpack(goal)] = GOAL
    return Mazes(questions, answers, steps, widest == 1)


def solves(questions_MS: Tokens, answers_MS: Tokens) -> NDArray[np.bool_]:
    """Which answers (M) mark a shortest path from start to goal and change nothing else.

    Marks that connect the two and are as many as the shortest path has cells between them can't be anything else.
    """
    start, goal = pack(questions_MS == START), pack(questions_MS == GOAL)
    marks = (questions_MS == OPEN) & (answers_MS == PATH)
    is_kept = (marks | (questions_MS == answers_MS)).all(1)
    between = distances(start, goal, pack(questions_MS != WALL)) - 1
    along = distances(start, goal, pack(marks) | start | goal) - 1
    result: NDArray[np.bool_] = is_kept & (between >= 0) & (along == between) & (marks.sum(1) == between)
    return result


def distances(start: Boards, goal: Boards, open_: Boards) -> NDArray[np.int64]:
    """Steps (M) of the shortest path from ``start`` to ``goal``; -1 where there is none."""
    steps = np.full(len(start), -1)
    for step, wave in enumerate(_waves(start & open_, open_)):
        steps[(wave & goal).any(1)] = step
    return steps


def pack(cells_MS: NDArray[np.bool_]) -> Boards:
    """Cells as bits."""
    size = round(cells_MS.shape[1] ** 0.5)
    bits = np.left_shift(1, np.arange(size, dtype=np.int64))
    boards: Boards = cells_MS.astype(np.int64).reshape(-1, size, size) @ bits
    return boards


def unpack(boards: Boards) -> NDArray[np.bool_]:
    """Bits as cells (M, S)."""
    cells = (boards[:, :, None] >> np.arange(boards.shape[1])) & 1
    return cells.astype(np.bool_).reshape(len(boards), -1)


def _waves(start: Boards, open_: Boards) -> Iterator[Boards]:
    """The cells at distance 0, 1, 2 …, until no maze has any left."""
    seen = wave = start
    while wave.any():
        yield wave
        wave = _spread(wave) & open_ & ~seen
        seen = seen | wave


def _spread(boards: Boards) -> Boards:
    """The neighbours of the cells; also beyond the right edge, where nothing is open."""
    near = (boards << 1) | (boards >> 1)
    near[:, 1:] |= boards[:, :-1]
    near[:, :-1] |= boards[:, 1:]
    return near


def _first(boards: Boards) -> Boards:
    """The first cell of each maze in reading order, if it has any."""
    row = (boards != 0).argmax(1)[:, None]
    found = np.take_along_axis(boards, row, 1)
    first = np.zeros_like(boards)
    np.put_along_axis(first, row, found & -found, 1)
    return first


def _farthest(waves: list[Boards]) -> Boards:
    """The first cell of each maze's last wave; none where no wave began."""
    last = np.zeros_like(waves[0])
    for wave in waves:
        last = np.where(wave.any(1, keepdims=True), wave, last)
    return _first(last)
