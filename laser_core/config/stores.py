"""What the forward pass keeps for backward, and how its bases and codes follow the activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from laser_core.schema import Checked, Problem, option

MOST_CODE_LOSS = 0.5  # of the activations' energy


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
class _Tracked(Checked):
    """What the stores with tracked bases have in common."""

    energy: float = option(
        0.95,
        "Fidelity threshold ε: share of the activations' energy that the basis must hold; 1 keeps full rank.",
        gt=0,
        le=1,
    )
    rank: int = option(0, "Rank of every site, at most its width; 0 chooses the least that reaches the energy.", ge=0)
    budget_fraction: float = option(
        0.0,
        "Share of its sites' bytes in full that the store may hold, spread over them by their spectra in place of one "
        "energy for all, as if recursion steps reused nothing; 0 sets none.",
        ge=0,
        le=1,
    )
    adapt: bool = option(True, "Let the rank grow and shrink, and reset the basis, as fidelity asks.")
    update_every: int = option(
        10, "Most training steps between two updates of the basis; fewer after fidelity was missed.", ge=1, le=100_000
    )
    patience: int = option(
        3, "Updates in a row below the threshold (p); where the next is as well, the basis is reset.", ge=1, le=1000
    )
    gradient_cosine: float = option(
        0.0,
        "Least cosine between the store's gradient and the exact one: missed, sites may lose half as much from then on. "
        "0 never looks.",
        ge=0,
        lt=1,
    )
    look_every: int = option(200, "Steps between two looks at the gradient's cosine; each costs two more.", ge=1)

    def cross_check(self) -> list[Problem]:
        if self.budget_fraction and self.rank:
            return [Problem("rank", f"expected 0 beside a budget_fraction, which chooses ranks; got {self.rank}")]
        return []


@dataclass(frozen=True)
class LaserStore(_Tracked):
    """Keeps the inputs of linear layers in a tracked low-rank basis (LASER, arXiv 2604.17224)."""

    kind: Literal["laser"] = "laser"


@dataclass(frozen=True)
class _Recomputing(Checked):
    """What the stores have in common whose backward computes from codes what it needs."""

    backward: Literal["same", "bfloat16"] = option(
        "same",
        "What backward multiplies in: the same as the forward pass, or bfloat16, whose rounding is small beside what codes "
        "lose; its products take two fifths of the time where a processor has matrix units for it.",
    )


@dataclass(frozen=True)
class _Fused(_Recomputing, _Tracked):
    """What the stores of the fused block have in common."""

    weight_energy: float = option(
        1.0,
        "Share of the energy whose directions weight gradients use, in fewer of them and sooner; 1 uses the whole basis.",
        gt=0,
        le=1,
    )
    reuse: float = option(
        0.0,
        "How far a puzzle may be, at a recursion step, from what is held of it where that still serves, as a multiple of the "
        "energy 1 - ε; such steps hold nothing and share backward's work. 0 holds every step; 0.3 is a good value.",
        ge=0,
        le=10,
    )


@dataclass(frozen=True)
class LaserFusedStore(_Fused):
    """Keeps three low-rank tensors per block and computes the rest again from them."""

    kind: Literal["laser-fused"] = "laser-fused"
    energy: float = option(
        0.999,
        "Fidelity threshold ε: share of the activations' energy that the basis must hold; 1 keeps full rank.",
        gt=0,
        le=1,
    )


@dataclass(frozen=True)
class LaserCodedStore(_Fused):
    """Keeps three tensors per block as packed codes of a few bits in a tracked eigenbasis, and computes the rest again."""

    kind: Literal["laser-coded"] = "laser-coded"
    energy: float = option(
        0.999,
        "Fidelity threshold ε: the basis leaves out at most 1 - ε of the energy; 1 keeps everything.",
        gt=0,
        le=1,
    )
    code_loss: float = option(
        0.1,
        "What codes may lose beyond that, as a multiple of 1 - ε; less takes more bits, not more time.",
        gt=0,
        le=10,
    )
    codes: Literal["fixed", "variable"] = option(
        "fixed",
        "How long a direction's codes are: all alike, or short for frequent values, which hold a fifth less, clip nothing "
        "and take longer to read, twice a step's time where sites keep hundreds of directions.",
    )
    keep: Literal["sublayer", "call"] = option(
        "sublayer",
        "What is coded: all that flows between sublayers, or a network call's input alone, run again from it.",
    )

    def cross_check(self) -> list[Problem]:
        problems = super().cross_check()
        if self.code_loss * (1 - self.energy) > MOST_CODE_LOSS:
            most = MOST_CODE_LOSS / (1 - self.energy)
            message = (
                f"expected at most {most:g} at an energy of {self.energy:g}: codes would lose more than half of it"
            )
            problems.append(Problem("code_loss", f"{message}; got {self.code_loss:g}"))
        return problems


@dataclass(frozen=True)
class QuantStore(_Recomputing):
    """Keeps what laser-coded keeps, in groups of integers without a basis: its control."""

    kind: Literal["quant"] = "quant"
    bits: Literal[4, 8] = option(4, "Bits of a number.")
    group: Literal[16, 32, 64, 128] = option(64, "Numbers that share one scale and one offset (two bytes each).")


@dataclass(frozen=True)
class AsiStore(Checked):
    """Keeps the inputs of linear layers in a basis of each call's own, warm-started from the last step's
    (ASI, arXiv 2505.05086)."""

    kind: Literal["asi"] = "asi"
    rank: int = option(16, "Rank of every site, at most its width.", ge=1)


@dataclass(frozen=True)
class RandomStore(Checked):
    """Keeps the inputs of linear layers in a random basis that never changes: the control for tracking."""

    kind: Literal["random"] = "random"
    rank: int = option(16, "Rank of every site, at most its width.", ge=1)


@dataclass(frozen=True)
class AutoStore(Checked):
    """Takes the fastest store that fits a memory budget, by a short calibration at the start: none, checkpoint or laser-coded
    with reuse, the last also with a backward pass in bfloat16."""

    memory_budget: float = option(help="Most MiB held between forward and backward.", gt=0)
    kind: Literal["auto"] = "auto"


StoreKind = Literal[
    "none", "checkpoint", "laser", "laser-fused", "laser-coded", "quant", "asi", "random", "auto"
]  # fmt: skip
Store = (
    NoneStore
    | CheckpointStore
    | LaserStore
    | LaserFusedStore
    | LaserCodedStore
    | QuantStore
    | AsiStore
    | RandomStore
    | AutoStore
)
