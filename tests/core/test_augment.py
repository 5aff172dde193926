"""Symmetries keep a Sudoku a Sudoku, move puzzle and solution alike, and never change a puzzle's key."""

import random

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from laser_core.augment import DIHEDRAL, augment, dihedral_cells, dihedral_inverse, dihedral_key, symmetry_key
from laser_core.sudoku import BOXES, blanked, is_solution, random_solution

SIZES, SEEDS = st.sampled_from(sorted(BOXES)), st.integers(0, 2**31)


def puzzles(size: int, seed: int, count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens of random puzzles (not necessarily unique) and their solutions."""
    rng = random.Random(seed)
    answers = [random_solution(size, rng) for _ in range(count)]
    questions = [blanked(a, rng.sample(range(size * size), rng.randrange(1, size * size))) for a in answers]
    return torch.tensor(questions) + 1, torch.tensor(answers) + 1


def keys(tokens: torch.Tensor, size: int) -> list[int]:
    return symmetry_key((tokens - 1).numpy().astype(np.uint8), size).tolist()


@given(SIZES, SEEDS)
def test_an_augmented_puzzle_is_valid_solved_alike_and_keeps_its_key(size: int, seed: int) -> None:
    inputs, labels = puzzles(size, seed)
    new_inputs, new_labels = augment(inputs, labels, size, torch.Generator().manual_seed(seed))
    assert all(is_solution(tuple(row), size) for row in (new_labels - 1).tolist())
    clues = new_inputs > 1
    assert torch.equal(new_inputs[clues], new_labels[clues])
    assert torch.equal(clues.sum(1), (inputs > 1).sum(1))
    assert keys(new_inputs, size) == keys(inputs, size)


@given(SIZES, SEEDS)
def test_augmentation_is_the_generators_alone(size: int, seed: int) -> None:
    inputs, labels = puzzles(size, seed, count=2)
    first, second = (augment(inputs, labels, size, torch.Generator().manual_seed(seed)) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_every_symmetry_of_the_small_grid_is_drawn() -> None:
    """A solution without symmetry of its own has 24 · 128 / |automorphisms| images; all 4×4 grids of its class appear."""
    answer = torch.tensor([[1, 2, 3, 4, 3, 4, 1, 2, 2, 1, 4, 3, 4, 3, 2, 1]]) + 1
    many = answer.expand(20_000, -1)
    drawn, _ = augment(many, many, 4, torch.Generator().manual_seed(0))
    assert len(set(map(tuple, drawn.tolist()))) == 96  # the class of the cyclic grid has 96 of the 288 (the other 192)


def test_keys_tell_most_classes_apart() -> None:
    _, labels = puzzles(9, 5, count=200)
    inputs = labels.where(torch.rand(81, generator=torch.Generator().manual_seed(0)) < 0.5, 1)
    assert len(set(keys(inputs, 9))) == 200


def test_transposing_six_by_six_is_no_symmetry() -> None:
    _, labels = puzzles(6, 1)
    inputs = labels.where(torch.arange(36) % 5 > 0, 1)
    transposed = inputs.view(-1, 6, 6).transpose(1, 2).reshape(-1, 36)
    assert all(a != b for a, b in zip(keys(inputs, 6), keys(transposed, 6), strict=True))


def test_turns_and_reflections_are_the_eight_of_the_square() -> None:
    grid = torch.arange(9).view(3, 3)
    turned = [grid.rot90(turn) for turn in range(4)]
    expected = {tuple(x.flatten().tolist()) for image in turned for x in (image, image.T)}
    assert {tuple(row) for row in dihedral_cells(torch.arange(DIHEDRAL), 3, 3, 3).tolist()} == expected


@given(st.integers(1, 5), st.integers(1, 5))
def test_a_turned_corner_stays_in_the_corner_and_turns_back(height: int, width: int) -> None:
    grid = torch.zeros(5, 5, dtype=torch.int64)
    grid[:height, :width] = torch.arange(1, height * width + 1).view(height, width)
    transform = torch.arange(DIHEDRAL)
    heights, widths = (torch.where(transform >= 4, a, b) for a, b in ((width, height), (height, width)))
    there = grid.flatten()[dihedral_cells(transform, height, width, 5)]
    for image, h, w in zip(there.view(-1, 5, 5), heights.tolist(), widths.tolist(), strict=True):
        assert sorted(image[:h, :w].flatten().tolist()) == list(range(1, height * width + 1))
    back = there.gather(1, dihedral_cells(dihedral_inverse(transform), heights, widths, 5)).view(-1, 5, 5)
    assert (back[:, :height, :width] == grid[:height, :width]).all()


def test_dihedral_keys_are_equal_for_images_alone() -> None:
    grids = torch.randint(1, 6, (300, 25), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    images = grids.gather(1, dihedral_cells(torch.arange(300) % DIHEDRAL, 5, 5, 5))
    first, second = (dihedral_key(x.numpy(), 5) for x in (grids, images))
    assert (first == second).all()
    assert len(set(first.tolist())) == 300
