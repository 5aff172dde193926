"""Symmetries of puzzles: drawn at random for augmentation, and keys of puzzles that none of them can change.

Sudoku: digits may be permuted, bands and stacks, rows within a band and columns within a stack; the grid may be transposed, but
not 6×6, whose boxes of 2×3 would become 3×2. Mazes and other grids: the eight turns and reflections of a square.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laser_core.sudoku import box_shape

BLANK, FIRST_DIGIT = 1, 2  # tokens of a blank and of digit 1; 0 is padding, as in the official TRM data
DIHEDRAL = 8  # turns and reflections: bit 0 mirrors rows, bit 1 columns, bit 2 transposes

# Shapes: B puzzles of a batch, N puzzles, S cells (size²).


def augment(inputs_BS: Tensor, labels_BS: Tensor, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Applies one random symmetry to each row's tokens, the same to its input and its label. CPU tensors (B, S)."""
    batch = inputs_BS.shape[0]
    cells_BS = _random_cells(batch, size, generator)
    digits = torch.rand(batch, size, generator=generator).argsort(1) + FIRST_DIGIT
    tokens = torch.cat([torch.arange(FIRST_DIGIT).expand(batch, -1), digits], 1)
    return tuple(tokens.gather(1, x.gather(1, cells_BS)) for x in (inputs_BS, labels_BS))  # type: ignore[return-value]


def _random_cells(batch: int, size: int, generator: torch.Generator) -> Tensor:
    """(B, S): which cell of the puzzle comes to each place."""
    height, width = box_shape(size)
    rows = _random_lines(batch, size // height, height, generator)[:, :, None]
    columns = _random_lines(batch, size // width, width, generator)[:, None, :]
    straight, transposed = rows * size + columns, columns * size + rows
    if height != width:
        return straight.flatten(1)
    flip = torch.rand(batch, 1, 1, generator=generator) < 0.5
    return torch.where(flip, transposed, straight).flatten(1)


def _random_lines(batch: int, groups: int, members: int, generator: torch.Generator) -> Tensor:
    """(B, size): rows (or columns) in a new order that keeps those of one band (or stack) together."""
    group = torch.rand(batch, groups, 1, generator=generator).argsort(1)
    member = torch.rand(batch, groups, members, generator=generator).argsort(2)
    return (group * members + member).flatten(1)


def dihedral_cells(transform_B: Tensor, heights_B: Tensor | int, widths_B: Tensor | int, size: int) -> Tensor:
    """(B, S): which cell comes to each place when the height × width corner of the grid is turned or mirrored.

    ``transform_B`` holds 0..7. What comes to places outside the corner's new shape is of no meaning.
    """
    heights, widths, transform = (torch.as_tensor(x).view(-1, 1, 1) for x in (heights_B, widths_B, transform_B))
    row, column = torch.arange(size)[:, None], torch.arange(size)[None]
    transposes = transform & 4 > 0
    row, column = torch.where(transposes, column, row), torch.where(transposes, row, column)
    row = torch.where(transform & 1 > 0, heights - 1 - row, row)
    column = torch.where(transform & 2 > 0, widths - 1 - column, column)
    return (row * size + column).clamp(0, size * size - 1).flatten(1)


def dihedral_inverse(transform_B: Tensor) -> Tensor:
    """The transform that undoes each: its own, but that a transposition exchanges the mirrors."""
    exchanged = (transform_B & 1) << 1 | (transform_B & 2) >> 1 | 4
    return torch.where(transform_B & 4 > 0, exchanged, transform_B)


def dihedral_key(tokens_NS: NDArray[np.uint8], size: int) -> NDArray[np.uint64]:
    """A 64-bit key per square grid, equal for those that a turn or reflection makes equal; others share one by chance only."""
    cells = dihedral_cells(torch.arange(DIHEDRAL), size, size, size).numpy()
    place = np.arange(size * size, dtype=np.uint64) << np.uint64(8)
    keys = [_mix(tokens_NS[:, image] + place).sum(1) for image in cells]
    least: NDArray[np.uint64] = np.min(keys, axis=0)
    return least


def symmetry_key(puzzles_NS: NDArray[np.uint8], size: int) -> NDArray[np.uint64]:
    """A 64-bit key per puzzle (0 for blank, else the digit) that is equal for equivalent puzzles.

    Colour refinement: each cell's colour takes in those of its row, column, box and digit. Inequivalent puzzles rarely
    share a key (in a sample of 4×4, 4,492 classes had 4,456 keys), and are then taken for equivalent: the safe side.
    """
    grids = puzzles_NS.reshape(-1, size, size)
    height, width = box_shape(size)
    if height != width:
        return _refined(grids)
    return _mix(_refined(grids)) + _mix(_refined(grids.transpose(0, 2, 1)))


def _refined(grids: NDArray[np.uint8], rounds: int = 4) -> NDArray[np.uint64]:
    count, size, _ = grids.shape
    height, width = box_shape(size)
    digits = np.arange(1, size + 1, dtype=np.uint8)[:, None, None]
    holds = grids[:, None] == digits
    colour = _mix((grids > 0).astype(np.uint64))
    for _ in range(rounds):
        row, column = colour.sum(2, keepdims=True), colour.sum(1, keepdims=True)
        box = colour.reshape(count, size // height, height, size // width, width).sum((2, 4))
        by_digit = np.pad((colour[:, None] * holds).sum((2, 3)), ((0, 0), (1, 0)))
        same = np.take_along_axis(by_digit, grids.reshape(count, -1).astype(np.intp), 1).reshape(grids.shape)
        for seen in (row, column, box.repeat(height, 1).repeat(width, 2), same):
            colour = _mix(colour) + seen
    return _mix(colour).sum((1, 2))  # type: ignore[no-any-return]


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser: spreads every bit over all 64."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
