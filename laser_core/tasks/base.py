"""What every task is made of: puzzles as tokens, the rules of their kind, and batches drawn from them.

Shapes: N puzzles, B batch, S cells (size²).
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laser_core.events import Log
from laser_core.loss import IGNORED
from laser_core.model import Batch

if TYPE_CHECKING:
    from jaxtyping import Bool, Int, UInt8

PADDING = 0  # token of what is no cell of the puzzle; never scored
Tokens = NDArray[np.uint8]  # (N, S)
Preparing = Generator[Log, None, "PuzzleTask"]


@dataclass(frozen=True)
class Puzzles:
    """N puzzles of S cells as tokens (uint8 on the CPU): questions, solutions, and identifiers (all 0 where not given)."""

    inputs_NS: UInt8[Tensor, "N S"]
    labels_NS: UInt8[Tensor, "N S"]
    puzzles_N: Int[Tensor, "N"] | None = None

    def __len__(self) -> int:
        return len(self.inputs_NS)

    def __getitem__(self, chosen: Tensor | slice) -> Puzzles:
        puzzles_N = None if self.puzzles_N is None else self.puzzles_N[chosen]
        return Puzzles(self.inputs_NS[chosen], self.labels_NS[chosen], puzzles_N)

    def batch(self, chosen: Tensor | slice, device: torch.device) -> Batch:
        """The chosen puzzles, as they are."""
        return self[chosen].drawn().on(device)

    def drawn(self) -> Drawn:
        """All of them as the numbers that a model takes."""
        puzzles_N = torch.zeros(len(self), dtype=torch.int64) if self.puzzles_N is None else self.puzzles_N.long()
        return Drawn(self.inputs_NS.long(), self.labels_NS.long(), puzzles_N)


@dataclass(frozen=True)
class Drawn:
    """Puzzles on their way into a batch, on the CPU; padding is still a token."""

    inputs_BS: Int[Tensor, "B S"]
    labels_BS: Int[Tensor, "B S"]
    puzzles_B: Int[Tensor, "B"]

    def on(self, device: torch.device) -> Batch:
        """The batch; padding isn't scored."""
        labels_BS = self.labels_BS.masked_fill(self.labels_BS == PADDING, IGNORED)
        return Batch(*(x.to(device, non_blocking=True) for x in (self.inputs_BS, labels_BS, self.puzzles_B)))


class Rules(ABC):
    """One kind of puzzle in one size: its tokens, its symmetries, and when an answer is a solution."""

    kind: str  # sudoku, maze or arc
    characters: str  # one per token, to write a grid down
    size: int  # side of the grid
    vocab_size: int
    puzzle_identifiers: int = 1
    has_verifier: bool = True

    @abstractmethod
    def augment(self, drawn: Drawn, generator: torch.Generator) -> Drawn:
        """Applies one random symmetry to each puzzle, the same to its question and its solution."""

    @abstractmethod
    def symmetry_keys(self, inputs_NS: Tokens) -> list[int]:
        """A number per puzzle that is equal for those that a symmetry turns into each other."""

    @abstractmethod
    def valid(self, inputs_BS: Tensor, predictions_BS: Tensor) -> Tensor:
        """Which predictions (B) solve their puzzles, judged by the rules alone. Raises TypeError without a verifier."""

    def violations(self, question_S: Tensor, answer_S: Tensor) -> list[int]:
        """The cells of an answer that break a rule, in reading order; none where rules don't speak of single cells."""
        return []

    def text(self, tokens_S: Tensor) -> str:
        """A grid as characters in reading order."""
        return "".join(self.characters[token] for token in tokens_S.tolist())

    def keys(self, inputs_NS: Tokens, augmented: bool) -> list[int]:
        """What makes puzzles the same: their symmetry class with augmentation, their cells without."""
        return self.symmetry_keys(inputs_NS) if augmented else cell_keys(inputs_NS)


def cell_keys(inputs_NS: Tokens) -> list[int]:
    """A number per puzzle that is equal for equal cells."""
    return [int.from_bytes(hashlib.sha256(row.tobytes()).digest()[:8]) for row in inputs_NS]


@dataclass(frozen=True)
class PuzzleTask:
    """What a model trains on and is measured on. ``train`` may be empty where only evaluation is wanted."""

    rules: Rules
    train: Puzzles
    test: Puzzles
    augmented: bool

    @property
    def size(self) -> int:
        """Side of the grid."""
        return self.rules.size

    @property
    def vocab_size(self) -> int:
        return self.rules.vocab_size

    @property
    def seq_len(self) -> int:
        return self.size * self.size

    @property
    def puzzle_identifiers(self) -> int:
        """How many rows a puzzle embedding needs."""
        return self.rules.puzzle_identifiers

    @property
    def has_verifier(self) -> bool:
        """Whether ``valid`` can judge answers."""
        return self.rules.has_verifier

    def valid(self, inputs_BS: Int[Tensor, "B S"], predictions_BS: Int[Tensor, "B S"]) -> Bool[Tensor, "B"]:
        """Which predictions solve their puzzles by the rules alone, whatever the label says; on the inputs' device.

        Raises TypeError where ``has_verifier`` is false.
        """
        return self.rules.valid(inputs_BS.cpu(), predictions_BS.cpu()).to(inputs_BS.device)

    def sample(self, batch_size: int, generator: torch.Generator, device: torch.device) -> Batch:
        """A training batch drawn with replacement and augmented, all from ``generator`` (on the CPU).

        Drawing without replacement would promise nothing: rows that haven't halted drop their new puzzle anyway.
        """
        drawn = self.train[torch.randint(len(self.train), (batch_size,), generator=generator)].drawn()
        return (self.rules.augment(drawn, generator) if self.augmented else drawn).on(device)
