"""Keeps the inputs of a block, or of a whole call of the network, and computes the rest again in backward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from laser_core.stores.base import ActivationStore

if TYPE_CHECKING:
    from laser_core.layers import Block


class Checkpoint(ActivationStore):
    """Store ``checkpoint``; gradients are those of eager training to the bit."""

    def __init__(self, unit: Literal["block", "call"]) -> None:
        super().__init__()
        self.unit = unit

    def call(self, blocks: Sequence[Block], hidden_BLD: Tensor, injection_BLD: Tensor) -> Tensor:
        if self.unit == "block" or not torch.is_grad_enabled():
            return super().call(blocks, hidden_BLD, injection_BLD)
        self.keep(hidden_BLD, "layers", "checkpoint")
        self.keep(injection_BLD, "layers", "checkpoint")
        return _checkpointed(super().call, blocks, hidden_BLD, injection_BLD)

    def block(self, block: Block, x_BLD: Tensor) -> Tensor:
        if self.unit == "call" or not torch.is_grad_enabled():
            return super().block(block, x_BLD)
        self.keep(x_BLD, block.name, "checkpoint")
        return _checkpointed(super().block, block, x_BLD)


def _checkpointed(function: object, *inputs: object) -> Tensor:
    # Nothing here draws random numbers, so their state needn't be kept.
    output: Tensor = checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
    return output
