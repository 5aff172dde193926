"""A trained model's supervision steps, one after another, as every kind of evaluation takes them.

Shapes: B batch, S cells, L positions, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from laser_core.model import TRM, Batch, Carry, Outputs

Between = Callable[[Carry], Carry]


def unchanged(carry: Carry) -> Carry:
    """Hands the states on as they are."""
    return carry


def started(model: TRM, batch: Batch) -> Carry:
    """The carry that the first supervision step works from: the puzzles of ``batch`` and the initial states."""
    empty = model.initial_carry(len(batch.inputs_BS))
    answer_BLD, latent_BLD = (init.expand_as(empty.latent_BLD) for init in (model.answer_init, model.latent_init))
    return Carry(answer_BLD, latent_BLD, empty.steps_B, torch.zeros_like(empty.halted_B), batch)


def unrolled(
    model: TRM, batch: Batch, supervision_steps: int, *, before: Between = unchanged, after: Between = unchanged
) -> Iterator[tuple[Carry, Outputs]]:
    """The carry and the outputs after each supervision step; nothing halts.

    ``before`` and ``after`` may change the states that a supervision step takes in and hands on.
    """
    carry = started(model, batch)
    for _ in range(supervision_steps):
        carry, outputs = model.supervision_step(before(carry), batch)
        carry = after(carry)
        yield carry, outputs
