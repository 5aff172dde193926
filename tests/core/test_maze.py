"""Mazes: paths are shortest, equal to a search of one's own, and the judge accepts those and nothing else."""

import time
from collections import deque

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from laser_core.maze import GOAL, OPEN, PATH, START, SYMBOLS, WALL, distances, draw, pack, solves, unpack

SEEDS = st.integers(0, 2**31)


def drawn(size: int, seed: int, count: int = 16, walls: float = 0.38):
    mazes = draw(count, size, walls, torch.Generator().manual_seed(seed))
    keep = mazes.steps_M >= 2
    return type(mazes)(*(part[keep] for part in mazes))


def searched(question: np.ndarray, size: int) -> dict[int, int]:
    """Steps from the start to every cell it reaches, one cell at a time."""
    start = int((question == START).argmax())
    steps, queue = {start: 0}, deque([start])
    while queue:
        cell = queue.popleft()
        row, column = divmod(cell, size)
        for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            near = r * size + c
            if 0 <= r < size and 0 <= c < size and question[near] != WALL and near not in steps:
                steps[near] = steps[cell] + 1
                queue.append(near)
    return steps


@given(st.integers(5, 40), SEEDS)
def test_paths_are_shortest_and_the_goal_is_farthest(size: int, seed: int) -> None:
    mazes = drawn(size, seed, count=4)
    for question, answer, steps in zip(mazes.questions_MS, mazes.answers_MS, mazes.steps_M, strict=True):
        reached = searched(question, size)
        goal = int((question == GOAL).argmax())
        assert steps == reached[goal] == max(reached.values()) == (answer == PATH).sum() + 1
        assert (question == START).sum() == (question == GOAL).sum() == 1
        assert (question[answer == PATH] == OPEN).all()
    assert solves(mazes.questions_MS, mazes.answers_MS).all()


def test_unique_paths_are_those_that_no_blocked_cell_leaves_as_short() -> None:
    mazes = drawn(8, 3, count=60)
    for question, answer, steps, is_unique in zip(*mazes, strict=True):
        detours = []
        for cell in np.flatnonzero(answer == PATH):
            blocked = question.copy()
            blocked[cell] = WALL
            detours.append(searched(blocked, 8).get(int((question == GOAL).argmax()), 10**6) > steps)
        assert all(detours) == is_unique
    assert 0 < mazes.is_unique_M.sum() < len(mazes.is_unique_M)


@given(SEEDS)
def test_any_changed_cell_is_no_solution(seed: int) -> None:
    mazes = drawn(7, seed)
    rng = np.random.default_rng(seed)
    answers = mazes.answers_MS.copy()
    rows, cells = np.arange(len(answers)), rng.integers(0, 49, len(answers))
    answers[rows, cells] = (answers[rows, cells] + rng.integers(1, 6, len(answers))) % 6
    assert not solves(mazes.questions_MS, answers).any()


def tokens(text: str) -> np.ndarray:
    return np.array([[SYMBOLS.index(c) + 1 for c in text.replace("|", "")]], np.uint8)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Soo|##o|##G", True),
        ("Soo|##o|##G".replace("o", " "), False),
        ("So |##o|##G", False),
        ("SoG|##o|##o", False),
    ],
)
def test_the_judge(answer: str, expected: bool) -> None:
    assert solves(tokens("S  |## |##G"), tokens(answer)).tolist() == [expected]


def test_the_judge_takes_any_shortest_path_but_no_longer_one() -> None:
    question = tokens("S  |   |  G")
    for answer, expected in (
        ("Soo|  o|  G", True),
        ("S  |o  |ooG", True),
        ("Soo| oo|  G", False),
        ("S o|ooo|o G", False),
    ):
        assert solves(question, tokens(answer)).tolist() == [expected]
    spiral, long_way = tokens("S   |##  |    |G   "), tokens("Sooo|## o|oooo|G   ")
    assert not solves(spiral, long_way)[0]
    unreachable = tokens("S# |## |  G")
    assert not solves(unreachable, unreachable)[0]


def test_bits_and_cells_are_the_same() -> None:
    cells = torch.rand(5, 1600, generator=torch.Generator().manual_seed(0)).numpy() < 0.5
    assert (unpack(pack(cells)) == cells).all()
    whole = np.ones((1, 1600), np.bool_)
    assert (
        distances(pack(np.eye(1, 1600, 0, dtype=bool)), pack(np.eye(1, 1600, 1599, dtype=bool)), pack(whole))[0] == 78
    )


def test_hundreds_are_drawn_in_a_second() -> None:
    started = time.process_time()
    draw(512, 10, 0.38, torch.Generator().manual_seed(0))
    assert time.process_time() - started < 1.0
