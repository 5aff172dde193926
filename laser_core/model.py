"""The Tiny Recursive Model (arXiv 2510.04871), numerically equal to its official code.

Two states, the answer (the paper's z_H) and the latent (z_L), are refined by one small network: ``n`` latent updates then
one answer update make a cycle; T cycles make a supervision step, of which only the last carries gradient.

Shapes: B batch, S cells, L positions (puzzle positions, then cells), D width, V vocabulary, E puzzle embedding.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from laser_core.config import ModelConfig
from laser_core.layers import Block, truncated_normal
from laser_core.stores.base import ActivationStore

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

HALT_BIAS = -5.0  # halting starts out improbable, so that learning begins with the answer


@dataclass(frozen=True)
class Batch:
    """Puzzles as token numbers."""

    inputs_BS: Int[Tensor, "B S"]
    labels_BS: Int[Tensor, "B S"]  # -100 where a cell isn't scored
    puzzles_B: Int[Tensor, "B"]  # puzzle identifiers

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Of each of its tensors what ``change`` makes of it."""
        return Batch(change(self.inputs_BS), change(self.labels_BS), change(self.puzzles_B))


@dataclass(frozen=True)
class Carry:
    """What deep supervision hands from one supervision step to the next; never holds gradient."""

    answer_BLD: Float[Tensor, "B L D"]
    latent_BLD: Float[Tensor, "B L D"]
    steps_B: Int[Tensor, "B"]  # supervision steps that the puzzle has had
    halted_B: Bool[Tensor, "B"]  # rows that the next step starts anew on a new puzzle
    data: Batch  # the puzzles at work


@dataclass(frozen=True)
class Outputs:
    """What a supervision step says. ``puzzle_rows_BE`` is a leaf: after backward its ``grad`` is that of the batch's
    rows of the puzzle embedding (None without one)."""

    logits_BSV: Float[Tensor, "B S V"]
    halt_logit_B: Float[Tensor, "B"]
    puzzle_rows_BE: Float[Tensor, "B E"] | None


class TRM(nn.Module):
    """The model. ``store`` decides what the forward pass keeps for backward; weights are drawn from ``generator``."""

    answer_init: Tensor
    latent_init: Tensor
    puzzle_table: Tensor

    def __init__(
        self,
        config: ModelConfig,
        vocab_size: int,
        seq_len: int,
        puzzle_identifiers: int = 1,
        *,
        store: ActivationStore,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.config, self.store = config, store
        self.seq_len, self.vocab_size = seq_len, vocab_size
        self.puzzle_positions = config.puzzle_positions or math.ceil(config.puzzle_embedding / config.width)
        width, positions = config.width, self.puzzle_positions + seq_len

        std = width**-0.5
        self.token_embedding = _embedding(truncated_normal((vocab_size, width), std, generator))
        self.position_embedding: nn.Embedding | None = None
        if config.positions == "learned":
            self.position_embedding = _embedding(truncated_normal((positions, width), std, generator))
        if config.puzzle_embedding:  # a buffer: sparse sign-SGD trains it, not the optimiser of the weights
            self.register_buffer("puzzle_table", torch.zeros(puzzle_identifiers, config.puzzle_embedding))
        names = [f"layers.{index}" for index in range(config.layers)]
        self.layers = nn.ModuleList(Block(name, config, positions, generator) for name in names)
        # Made empty, then filled: a layer's own initialisation would draw from the global generator.
        self.lm_head = nn.Linear(width, vocab_size, bias=False, device="meta").to_empty(device="cpu")
        # Halt, and the continue logit that the official code has but doesn't train.
        self.halt_head = nn.Linear(width, 2, device="meta").to_empty(device="cpu")
        self.register_buffer("answer_init", truncated_normal((width,), 1.0, generator))
        self.register_buffer("latent_init", truncated_normal((width,), 1.0, generator))
        with torch.no_grad():
            self.lm_head.weight.copy_(truncated_normal((vocab_size, width), std, generator))
            self.halt_head.weight.zero_()
            self.halt_head.bias.fill_(HALT_BIAS)

    def initial_carry(self, batch_size: int) -> Carry:
        """A carry whose every row is halted, so that the first step starts it on its own puzzle."""
        device = self.answer_init.device
        states_BLD = torch.zeros(batch_size, self.puzzle_positions + self.seq_len, self.config.width, device=device)
        cells_BS = torch.zeros(batch_size, self.seq_len, dtype=torch.int64, device=device)
        steps_B = torch.zeros(batch_size, dtype=torch.int32, device=device)
        halted_B = torch.ones(batch_size, dtype=torch.bool, device=device)
        data = Batch(cells_BS, cells_BS.clone(), torch.zeros(batch_size, dtype=torch.int64, device=device))
        return Carry(states_BLD, states_BLD.clone(), steps_B, halted_B, data)

    def supervision_step(self, carry: Carry, batch: Batch) -> tuple[Carry, Outputs]:
        """One supervision step: halted rows first take their puzzle from ``batch`` and the initial states.

        Returns the carry with ``halted_B`` all false (who halts is the trainer's to decide) and the outputs.
        """
        self.store.begin_forward()
        carry = self._restarted(carry, batch)
        puzzle_rows_BE = self._puzzle_rows(carry.data.puzzles_B)
        embedded_BLD = self._embedded(carry.data.inputs_BS, puzzle_rows_BE)
        answer_BLD, latent_BLD = carry.answer_BLD, carry.latent_BLD
        with torch.no_grad():
            for _ in range(self.config.cycles - 1):
                answer_BLD, latent_BLD = self._cycle(answer_BLD, latent_BLD, embedded_BLD)
        answer_BLD, latent_BLD = self._cycle(answer_BLD, latent_BLD, embedded_BLD)
        self.store.end_forward()

        logits_BSV = self.lm_head(answer_BLD)[:, self.puzzle_positions :]
        halt_logit_B = self.halt_head(answer_BLD[:, 0]).float()[:, 0]
        carry = dataclasses.replace(
            carry, answer_BLD=answer_BLD.detach(), latent_BLD=latent_BLD.detach(), steps_B=carry.steps_B + 1
        )
        return carry, Outputs(logits_BSV, halt_logit_B, puzzle_rows_BE)

    def _restarted(self, carry: Carry, batch: Batch) -> Carry:
        halted_B1, halted_B11 = carry.halted_B[:, None], carry.halted_B[:, None, None]
        data = Batch(
            torch.where(halted_B1, batch.inputs_BS, carry.data.inputs_BS),
            torch.where(halted_B1, batch.labels_BS, carry.data.labels_BS),
            torch.where(carry.halted_B, batch.puzzles_B, carry.data.puzzles_B),
        )
        return Carry(
            torch.where(halted_B11, self.answer_init, carry.answer_BLD),
            torch.where(halted_B11, self.latent_init, carry.latent_BLD),
            torch.where(carry.halted_B, 0, carry.steps_B),
            torch.zeros_like(carry.halted_B),
            data,
        )

    def _puzzle_rows(self, puzzles_B: Tensor) -> Tensor | None:
        if not self.config.puzzle_embedding:
            return None
        return self.puzzle_table[puzzles_B.long()].requires_grad_(torch.is_grad_enabled())

    def _embedded(self, inputs_BS: Tensor, puzzle_rows_BE: Tensor | None) -> Tensor:
        width = self.config.width
        embedded_BLD: Tensor = self.token_embedding(inputs_BS)
        if puzzle_rows_BE is not None:  # fills the leading positions, padded with zeros
            padding = self.puzzle_positions * width - puzzle_rows_BE.shape[-1]
            puzzle_BLD = F.pad(puzzle_rows_BE, (0, padding)).view(-1, self.puzzle_positions, width)
            embedded_BLD = torch.cat((puzzle_BLD, embedded_BLD), dim=1)
        if self.position_embedding is not None:
            embedded_BLD = math.sqrt(0.5) * (embedded_BLD + self.position_embedding.weight)
        return math.sqrt(width) * embedded_BLD

    def _cycle(self, answer_BLD: Tensor, latent_BLD: Tensor, embedded_BLD: Tensor) -> tuple[Tensor, Tensor]:
        """n updates of the latent, then one of the answer (the paper's latent recursion)."""
        injection_BLD = answer_BLD + embedded_BLD
        for step in range(self.config.latent_steps):
            self.store.recursion_step = step
            latent_BLD = self.store.call(self.blocks, latent_BLD, injection_BLD)
        self.store.recursion_step = self.config.latent_steps
        answer_BLD = self.store.call(self.blocks, answer_BLD, latent_BLD)
        self.store.recursion_step = -1
        return answer_BLD, latent_BLD

    @property
    def blocks(self) -> list[Block]:
        """The layers of the one small network."""
        return [block for block in self.layers if isinstance(block, Block)]


def _embedding(weight_VD: Tensor) -> nn.Embedding:
    return nn.Embedding(weight_VD.shape[0], weight_VD.shape[1], _weight=weight_VD)
