"""What the forward pass keeps for backward, and how its bases and codes follow the activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from laser_core.schema import Checked, option


@dataclass(frozen=True)
class NoneStore(Checked):
    """Keeps every activation, as eager training does."""

    kind: Literal["none"] = "none"


@dataclass(frozen=True)
class CheckpointStore(Checked):
    """Keeps inputs only and computes the rest again in backward (gradient checkpointing)."""

    kind: Literal["checkpoint"] = "checkpoint"
    unit: Literal["block", "call"] = option(
        "block", "What is computed again at once: one block, or one call of the network."
    )


@dataclass(frozen=True)
class LaserStore(Checked):
    """Keeps the inputs of linear layers in a tracked low-rank basis (LASER, arXiv 2604.17224)."""

    kind: Literal["laser"] = "laser"
    energy: float = option(
        0.95,
        "Fidelity threshold ε: share of the activations' energy that the basis must hold; 1 keeps full rank.",
        gt=0,
        le=1,
    )
    rank: int = option(0, "Rank of every site, at most its width; 0 chooses the least that reaches the energy.", ge=0)
    adapt: bool = option(True, "Let the rank grow and shrink, and reset the basis, as fidelity asks.")
    update_every: int = option(
        10, "Most training steps between two updates of the basis; fewer after fidelity was missed.", ge=1, le=100_000
    )
    patience: int = option(3, "Updates in a row below the threshold before the basis is reset (p).", ge=1, le=1000)


@dataclass(frozen=True)
class LaserFusedStore(Checked):
    """Keeps three low-rank tensors per block and computes the rest again from them."""

    kind: Literal["laser-fused"] = "laser-fused"
    energy: float = option(
        0.999,
        "Fidelity threshold ε: share of the activations' energy that the basis must hold; 1 keeps full rank.",
        gt=0,
        le=1,
    )
    rank: int = option(0, "Rank of every site, at most its width; 0 chooses the least that reaches the energy.", ge=0)
    adapt: bool = option(True, "Let the rank grow and shrink, and reset the basis, as fidelity asks.")
    update_every: int = option(
        10, "Most training steps between two updates of the basis; fewer after fidelity was missed.", ge=1, le=100_000
    )
    patience: int = option(3, "Updates in a row below the threshold before the basis is reset (p).", ge=1, le=1000)


Store = NoneStore | CheckpointStore | LaserStore | LaserFusedStore
