"""What the forward pass keeps for backward: the interface that every activation store fills.

The model hands each call of its network, and each linear layer, to its store. All stores give the same forward numbers to
the bit; only what backward sees differs. Outside gradient mode a store has nothing to keep and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from laser_core.events import Trace

if TYPE_CHECKING:
    from laser_core.layers import Block, Linear

StateDict = dict[str, Any]  # tensors (names may hold dots) and JSON values, both flat


def autocast_as_now(x: Tensor) -> torch.autocast:
    """The autocast in force where ``x`` is, for a backward that autograd runs outside of it."""
    kind = x.device.type
    return torch.autocast(kind, torch.get_autocast_dtype(kind), enabled=torch.is_autocast_enabled(kind))


def in_float32(x: Tensor) -> torch.autocast:
    """No autocast: bases and codes need all the digits."""
    return torch.autocast(x.device.type, enabled=False)


class ActivationStore:
    """Keeps every activation, as eager training does (store ``none``), and is the base of those that keep less.

    A training step is ``begin_step``, forward, backward, optimiser, ``end_step``. Bases change in ``end_step`` only:
    what packed an activation also unpacks it.
    """

    def __init__(self) -> None:
        self.recursion_step = -1  # which call of the last cycle is at work, from 0; -1 outside of it. The model says
        self.labels: dict[int, tuple[str, str]] = {}  # storage address -> (site, kind) of what this store keeps itself

    # --- training steps

    def begin_step(self, step: int) -> None:
        """Training step ``step`` (counted from 1) begins."""

    def end_step(self) -> list[Trace]:
        """The optimiser has stepped: updates the bases that are due; returns a trace of each."""
        return []

    def state_dict(self) -> StateDict:
        """Everything a bit-exact resumption needs: tensors and JSON values by name."""
        return {}

    def load_state_dict(self, state: StateDict) -> None:
        """Takes up where ``state_dict`` left off. Raises ValueError for a state of another kind of store."""
        if state:
            raise ValueError(f"store state: {type(self).__name__} has none, got {sorted(state)[:3]}")

    # --- forward, called by the model

    def begin_forward(self) -> None:
        """A supervision step begins: nothing of an earlier one is needed any more."""
        self.labels.clear()

    def end_forward(self) -> None:
        """The supervision step is computed: what only its forward pass needs can go."""

    def call(self, blocks: Sequence[Block], hidden_BLD: Tensor, injection_BLD: Tensor) -> Tensor:
        """One call of the network: the blocks, in turn, on ``hidden + injection``."""
        x_BLD = hidden_BLD + injection_BLD
        for block in blocks:
            x_BLD = self.block(block, x_BLD)
        return x_BLD

    def block(self, block: Block, x_BLD: Tensor) -> Tensor:
        """One block."""
        y_BLD: Tensor = block(x_BLD, self)
        return y_BLD

    def linear(self, layer: Linear, x_NI: Tensor) -> Tensor:
        """One linear layer: (rows, width in) to (rows, width out)."""
        return F.linear(x_NI, layer.weight)

    def keep(self, tensor: Tensor, site: str, kind: str) -> Tensor:
        """Labels a tensor that this store keeps, for memory.py's account."""
        self.labels[tensor.untyped_storage().data_ptr()] = (site, kind)
        return tensor
