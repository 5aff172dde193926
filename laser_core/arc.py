"""ARC-AGI grids as tokens, their augmentations, and the vote over what a model answers to augmented copies.

A grid lies in the top left corner of a square of ``size``: colours, a border of end marks below and to the right where
there is room, and padding. Shapes: N puzzles, A copies of each, I identifiers, B batch, S cells (size²), V tokens.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from laser_core.arc_file import COLOURS, Grid
from laser_core.augment import DIHEDRAL, dihedral_cells, dihedral_inverse
from laser_core.model import TRM
from laser_core.unroll import unrolled

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from laser_core.tasks.base import Puzzles

PADDING, END, FIRST_COLOUR = 0, 1, 2  # tokens, as in the official TRM data
VOCAB_SIZE = FIRST_COLOUR + len(COLOURS)


# --- grids


def tokens(grids: Sequence[Grid], size: int) -> Int[Tensor, "N S"]:
    """Grids as tokens. Raises ValueError for one larger than ``size``."""
    cells_NS = torch.zeros(len(grids), size * size, dtype=torch.int64)
    for cells_S, grid in zip(cells_NS, grids, strict=True):
        height, width = len(grid), len(grid[0])
        if max(height, width) > size:
            raise ValueError(f"a grid of {height}×{width} is larger than {size}×{size}")
        cells_S.view(size, size)[:height, :width] = torch.tensor(grid) + FIRST_COLOUR
    return framed(cells_NS, *extents(cells_NS, size), size)


def extents(tokens_BS: Tensor, size: int) -> tuple[Int[Tensor, "B"], Int[Tensor, "B"]]:
    """Height and width of each grid: the largest rectangle of colours in the top left corner, whatever lies around it."""
    is_colour = (tokens_BS >= FIRST_COLOUR).view(-1, size, size).long()
    widths_BR = is_colour.cumprod(2).sum(2).cummin(1).values  # of a rectangle that reaches down to the row
    row_B1 = (widths_BR * torch.arange(1, size + 1)).argmax(1, keepdim=True)
    return row_B1[:, 0] + 1, widths_BR.gather(1, row_B1)[:, 0]


def framed(tokens_BS: Tensor, heights_B: Tensor, widths_B: Tensor, size: int) -> Int[Tensor, "B S"]:
    """Keeps each grid, and makes everything around it end marks and padding."""
    row, column = torch.arange(size)[:, None], torch.arange(size)[None]
    heights, widths = heights_B.view(-1, 1, 1), widths_B.view(-1, 1, 1)
    is_end = (row == heights) & (column < widths) | (column == widths) & (row < heights)
    is_grid = (row < heights) & (column < widths)
    return torch.where(is_grid, tokens_BS.view(-1, size, size), is_end.long() * END).flatten(1)


# --- augmentations


@dataclass(frozen=True, eq=False)
class Augmentations:
    """What each puzzle identifier does to a grid. Identifier 0 is nobody's; each task then has ``copies``, its first one
    the task as it is."""

    size: int
    copies: int
    transforms_I: Int[Tensor, "I"]
    colours_IV: Int[Tensor, "I V"]

    @staticmethod
    def draw(tasks: int, augmentations: int, size: int, generator: torch.Generator) -> Augmentations:
        """Random turns and reflections, and permutations of all colours but black (0), as the official data has them."""
        copies = augmentations + 1
        count = 1 + tasks * copies
        transforms_I = torch.randint(DIHEDRAL, (count,), generator=generator)
        first = FIRST_COLOUR + 1
        colours = torch.rand(count, VOCAB_SIZE - first, generator=generator).argsort(1) + first
        is_plain_I = (torch.arange(count) - 1) % copies == 0
        is_plain_I[0] = True
        table_IV = torch.cat([torch.arange(first).expand(count, -1), colours], 1)
        table_IV = torch.where(is_plain_I[:, None], torch.arange(VOCAB_SIZE), table_IV)
        return Augmentations(size, copies, transforms_I.masked_fill(is_plain_I, 0), table_IV)

    def apply(self, tokens_BS: Tensor, puzzles_B: Tensor) -> Int[Tensor, "B S"]:
        """Each grid as its identifier has it."""
        return self._moved(tokens_BS, self.transforms_I[puzzles_B], self.colours_IV[puzzles_B])

    def undo(self, tokens_BS: Tensor, puzzles_B: Tensor) -> Int[Tensor, "B S"]:
        """The grid that ``apply`` had come from; of a model's answer, what it says about the task as it is."""
        transforms_B = dihedral_inverse(self.transforms_I[puzzles_B])
        return self._moved(tokens_BS, transforms_B, self.colours_IV[puzzles_B].argsort(1))

    def _moved(self, tokens_BS: Tensor, transforms_B: Tensor, colours_BV: Tensor) -> Tensor:
        heights_B, widths_B = extents(tokens_BS, self.size)
        cells_BS = dihedral_cells(transforms_B, heights_B, widths_B, self.size)
        moved_BS = colours_BV.gather(1, tokens_BS.gather(1, cells_BS))
        is_transposed_B = transforms_B & 4 > 0
        new_heights_B = torch.where(is_transposed_B, widths_B, heights_B)
        return framed(moved_BS, new_heights_B, torch.where(is_transposed_B, heights_B, widths_B), self.size)


# --- voting


def vote(answers_AS: Int[Tensor, "A S"], halting_A: Float[Tensor, "A"]) -> Int[Tensor, "K S"]:
    """The different answers, best first: by how many copies gave it, then by their mean halting value."""
    different_KS, which_A, votes_K = torch.unique(answers_AS, dim=0, return_inverse=True, return_counts=True)
    mean_K = torch.zeros(len(votes_K), dtype=torch.float64).index_add(0, which_A, halting_A.double()) / votes_K
    by_halting = mean_K.argsort(descending=True, stable=True)
    ranked_KS: Tensor = different_KS[by_halting[votes_K[by_halting].argsort(descending=True, stable=True)]]
    return ranked_KS


def voted_accuracy(
    model: TRM,
    puzzles: Puzzles,
    augmentations: Augmentations,
    batch_size: int,
    supervision_steps: int,
    attempts: Sequence[int] = (1, 2),
) -> Generator[int, None, dict[int, float]]:
    """Share of tests solved by one of the first so many answers of the vote; the mean over each task's tests, then tasks.

    Solves every copy of each of ``puzzles`` (identified as the task as it is), yielding how many puzzles are done after
    each batch.
    """
    copies, answers, halting = augmentations.copies, [], []
    assert puzzles.puzzles_N is not None
    for start in range(0, len(puzzles) * copies, batch_size):
        flat_B = torch.arange(start, min(start + batch_size, len(puzzles) * copies))
        ids_B = puzzles.puzzles_N[flat_B // copies] + flat_B % copies
        answers_BS, halting_B = _answers(model, puzzles, augmentations, flat_B // copies, ids_B, supervision_steps)
        answers.append(answers_BS)
        halting.append(halting_B)
        yield (start + len(flat_B)) // copies
    answers_NAS = torch.cat(answers).view(len(puzzles), copies, -1)
    halting_NA = torch.cat(halting).view(len(puzzles), copies)
    solved: dict[int, list[list[bool]]] = defaultdict(list)  # task -> for each test, by attempts
    for task, label_S, answers_AS, halting_A in zip(
        ((puzzles.puzzles_N - 1) // copies).tolist(), puzzles.labels_NS, answers_NAS, halting_NA, strict=True
    ):
        is_right = (vote(answers_AS, halting_A) == label_S).all(1).tolist()
        solved[task].append([any(is_right[:most]) for most in attempts])
    per_task = torch.stack([torch.tensor(tests, dtype=torch.float64).mean(0) for tests in solved.values()])
    return dict(zip(attempts, per_task.mean(0).tolist(), strict=True))


@torch.inference_mode()
def _answers(
    model: TRM,
    puzzles: Puzzles,
    augmentations: Augmentations,
    chosen_B: Tensor,
    ids_B: Tensor,
    supervision_steps: int,
) -> tuple[Tensor, Tensor]:
    """What the model says about copies of the chosen puzzles, turned back (B, S), and its halting values, 0..1 (B)."""
    drawn = puzzles[chosen_B].drawn()
    inputs_BS = augmentations.apply(drawn.inputs_BS, ids_B)
    batch = type(drawn)(inputs_BS, drawn.labels_BS, ids_B).on(model.answer_init.device)
    for _, outputs in unrolled(model, batch, supervision_steps):
        last = outputs
    answers_BS = augmentations.undo(last.logits_BSV.argmax(-1).cpu(), ids_B)
    return answers_BS.to(torch.uint8), last.halt_logit_B.sigmoid().cpu()
