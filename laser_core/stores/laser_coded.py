"""The fused block with packed codes: coordinates in the site's tracked eigenbasis, a few bits each (see coding.py).

The basis leaves at most 1 - ε of the activations' energy out, and the codes lose at most ``code_loss`` times as much. Losses
split equally cost the fewest bits of fixed length; finer codes in fewer directions cost the least time at the same gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from laser_core.stores import variable
from laser_core.stores.base import StateDict, in_float32
from laser_core.stores.coding import WORD_BITS, Layout, decode, encode, expected_error, layout, widths_at
from laser_core.stores.fused import Packed
from laser_core.stores.laser_fused import LaserFused
from laser_core.stores.tracked import Code
from laser_core.tracker import Policy, SubspaceTracker

Encoded = tuple[tuple[Tensor, ...], Callable[..., Tensor]]  # what is held of coordinates, and what reads it


class LaserCoded(LaserFused):
    """Store ``laser-coded``; with ``keeps="call"`` composed with checkpointing: only a call's input is held, as a code."""

    def __init__(
        self,
        policy: Policy,
        budget: float = 0.0,
        weight_energy: float = 1.0,
        code_loss: float = 1.0,
        keeps: Literal["sublayer", "call"] = "sublayer",
        seed: int = 0,
    ) -> None:
        super().__init__(policy, budget, weight_energy)
        self.keeps = keeps
        self.code_loss = code_loss
        self._seed = seed
        self._packs = 0  # since the forward pass began
        self._distortions: dict[str, float] = {}  # site -> what codes may lose, where a budget decides
        self._plans: dict[str, tuple[int, Any]] = {}  # site -> (update that it was made from, plan)

    def begin_forward(self) -> None:
        super().begin_forward()
        self._packs = 0

    def projected(self, site: str, x_BLD: Tensor) -> Tensor:
        basis_DK = self.basis(site, x_BLD.flatten(0, 1))
        if basis_DK is None:
            return x_BLD
        with in_float32(x_BLD):
            return x_BLD.float() @ basis_DK

    def pack(self, site: str, projected_BLK: Tensor) -> Packed:
        tracker = self.trackers.get(site)
        if tracker is None or tracker.basis is None:
            return super().pack(site, projected_BLK)
        self._packs += 1
        seed = (self._seed * 1_000_003 + self._step) * 4096 + self._packs
        with in_float32(projected_BLK):
            tensors, read = self.encoded(site, projected_BLK, seed)
        held = (*(self.keep(tensor, site, "code") for tensor in tensors), tracker.basis)
        return Packed(held, partial(_read, read))

    def encoded(self, site: str, coordinates_BLK: Tensor, seed: int) -> Encoded:
        plan = self.plan(site)
        packed, step_K = encode(coordinates_BLK, plan, seed)
        return (*packed, step_K), partial(_decoded, coordinates_BLK.shape[1], plan, seed)

    def plan(self, site: str) -> Any:
        """Where the bits of the site's directions go, as of its last update."""
        tracker = self.trackers[site]
        if self._plans.get(site, (-1, None))[0] != tracker.updates:
            distortion = self._distortions.get(site, self.code_loss * (1 - tracker.energy))
            self._plans[site] = tracker.updates, self.make_plan(tracker.shares, distortion)
        return self._plans[site][1]

    def make_plan(self, shares_K: Tensor, distortion: float) -> Any:
        return layout(shares_K, distortion)

    def row_bytes(self, site: str) -> float:
        """Of codes, without their steps."""
        return float(self.plan(site).bytes_per_row)

    def state_dict(self) -> StateDict:
        return super().state_dict() | {f"{site}/distortion": value for site, value in self._distortions.items()}

    def load_state_dict(self, state: StateDict) -> None:
        super().load_state_dict(state)
        self._plans.clear()
        self._distortions = {k.rpartition("/")[0]: x for k, x in state.items() if k.endswith("/distortion")}

    def site_bytes(self, tracker: SubspaceTracker) -> int:
        if tracker.basis is None:
            return super().site_bytes(tracker)
        return round(tracker.rows * self.row_bytes(tracker.site)) + tracker.basis.nbytes

    def spread_budget(self, trackers: list[SubspaceTracker]) -> None:
        """Lets all sites pay one price for a bit, the lowest that the budget allows."""
        low, high = -60.0, 0.0  # of the price's logarithm
        budget = self.budget * 32 * sum(tracker.rows * tracker.width for tracker in trackers)
        shares = [torch.tensor(tracker.known_shares, dtype=torch.float64) for tracker in trackers]
        for _ in range(30):
            price = (low + high) / 2
            widths = [widths_at(math.exp(price), x) for x in shares]
            spent = sum(
                -(-int(w.sum()) // WORD_BITS) * WORD_BITS * tracker.rows + int((w > 0).sum()) * tracker.width * 32
                for w, tracker in zip(widths, trackers, strict=True)
            )
            low, high = (low, price) if spent <= budget else (price, high)
        for tracker, x in zip(trackers, shares, strict=True):
            widths_K = widths_at(math.exp(high), x)
            tracker.set_rank(max(1, int((widths_K > 0).sum())))
            self._distortions[tracker.site] = expected_error(x[: tracker.rank], widths_K[: tracker.rank])


class VariablyCoded(LaserCoded):
    """Store ``laser-coded`` with codes of variable length (see variable.py). A budget is spread as for fixed lengths, which
    take more."""

    def encoded(self, site: str, coordinates_BLK: Tensor, seed: int) -> Encoded:
        plan, positions = self.plan(site), coordinates_BLK.shape[1]
        return variable.encode(coordinates_BLK, plan, seed), partial(_decoded_variable, positions, plan, seed)

    def make_plan(self, shares_K: Tensor, distortion: float) -> Any:
        return variable.plan(shares_K, distortion)

    def row_bytes(self, site: str) -> float:
        """As expected of normal variables."""
        return float(self.plan(site).bits / 8)


def _read(read: Callable[..., Tensor], *held: Tensor) -> Code:
    *tensors, basis_DK = held
    return Code(read(*tensors), basis_DK)


def _decoded(positions: int, plan: Layout, seed: int, lower: Tensor, upper: Tensor, step_K: Tensor) -> Tensor:
    return decode((lower, upper), step_K, positions, plan, seed)


def _decoded_variable(positions: int, plan: variable.Plan, seed: int, *held: Tensor) -> Tensor:
    return variable.decode(held, positions, plan, seed)
