"""Grids, the solver and generation: validity, uniqueness, determinism."""

import random
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laser_core.sudoku import BOXES, blanked, is_solution, is_unique, random_solution, removable, solutions, units

SIZES = st.sampled_from(sorted(BOXES))


@given(SIZES)
def test_units_cover_every_cell_three_times(size: int) -> None:
    cells = [cell for unit in units(size) for cell in unit]
    assert len(units(size)) == 3 * size
    assert sorted(cells) == sorted(list(range(size * size)) * 3)


def test_boxes_of_six_are_two_rows_of_three_columns() -> None:
    assert units(6)[12] == (0, 1, 2, 6, 7, 8)


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of 4, 6, 9, got 5"):
        units(5)


@given(SIZES, st.integers(0, 2**31))
def test_random_solutions_are_valid_and_seeded(size: int, seed: int) -> None:
    solution = random_solution(size, random.Random(seed))
    assert is_solution(solution, size)
    assert solution == random_solution(size, random.Random(seed))


@given(st.sampled_from([4, 6]), st.integers(0, 2**31), st.data())
def test_removed_clues_leave_one_solution_and_none_is_spare(size: int, seed: int, data: st.DataObject) -> None:
    rng = random.Random(seed)
    solution = random_solution(size, rng)
    removed = removable(solution, size, size * size, rng)
    puzzle = blanked(solution, removed)
    assert list(solutions(puzzle, size)) == [solution]
    clue = data.draw(st.sampled_from([cell for cell, digit in enumerate(puzzle) if digit]))
    assert not is_unique(blanked(puzzle, [clue]), size)


def test_a_nine_by_nine_puzzle_has_one_solution() -> None:
    rng = random.Random(0)
    solution = random_solution(9, rng)
    puzzle = blanked(solution, removable(solution, 9, 81, rng))
    assert puzzle.count(0) > 45
    assert list(solutions(puzzle, 9)) == [solution]


@given(st.integers(0, 16), st.integers(0, 2**31))
def test_no_more_cells_are_blanked_than_asked(most: int, seed: int) -> None:
    rng = random.Random(seed)
    assert len(removable(random_solution(4, rng), 4, most, rng)) <= most


def test_the_solver_counts_what_brute_force_counts() -> None:
    grid = random_solution(4, random.Random(3))
    puzzle = blanked(grid, [0, 1, 2, 3, 4, 5, 6, 7])
    fills = product(range(1, 5), repeat=8)
    blanks = [cell for cell, digit in enumerate(puzzle) if not digit]
    count = 0
    for fill in fills:
        cells = list(puzzle)
        for cell, digit in zip(blanks, fill, strict=True):
            cells[cell] = digit
        count += is_solution(tuple(cells), 4)
    assert len(list(solutions(puzzle, 4))) == count > 1


def test_a_contradiction_has_no_solution() -> None:
    assert list(solutions((1, 1, *[0] * 14), 4)) == []
    assert not is_unique((1, 1, *[0] * 14), 4)


def test_the_empty_grid_has_every_solution() -> None:
    assert len(list(solutions((0,) * 16, 4))) == 288
