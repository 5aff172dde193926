"""The fused block with packed codes: coordinates in the site's tracked eigenbasis, a few bits each (see coding.py).

The basis leaves at most 1 - ε of the activations' energy out, and the codes lose at most ``code_loss`` times as much. Losses
split equally cost the fewest bits; finer codes in fewer directions cost the least time at the same gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from laser_core.stores import variable
from laser_core.stores.base import StateDict, in_float32
from laser_core.stores.coding import WORD_BITS, Layout, decode, encode, expected_error, layout, widths_at
from laser_core.stores.fused import Packed
from laser_core.stores.laser_fused import LaserFused
from laser_core.stores.tracked import Code
from laser_core.tracker import Policy, SubspaceTracker

Plan = TypeVar("Plan")
Coded = tuple[tuple[Tensor, ...], Callable[..., Tensor]]  # what is held of coordinates, and what reads it


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

    def pack(self, site: str, x_BLD: Tensor) -> Packed:
        basis_DK = self.basis(site, x_BLD.flatten(0, 1))
        if basis_DK is None:
            return self.in_full(site, x_BLD)
        self._packs += 1
        seed = (self._seed * 1_000_003 + self._step) * 4096 + self._packs
        with in_float32(x_BLD):
            tensors, read = self.coded(site, x_BLD.float() @ basis_DK, seed)
        held = (*(self.keep(tensor, site, "code") for tensor in tensors), basis_DK)
        return Packed(held, partial(_read, read))

    def coded(self, site: str, coordinates_BLK: Tensor, seed: int) -> Coded:
        plan = self.layout(site)
        packed, step_K = encode(coordinates_BLK, plan, seed)
        return (*packed, step_K), partial(_decoded, plan, seed)

    def layout(self, site: str) -> Layout:
        """Where the bits of the site's directions stand, as of its last update."""
        return self.planned(site, layout)

    def planned(self, site: str, plan: Callable[[Tensor, float], Plan]) -> Plan:
        """The plan for the energies of the site's directions and what codes may lose of them, as of its last update."""
        tracker = self.trackers[site]
        if self._plans.get(site, (-1, None))[0] != tracker.updates:
            distortion = self._distortions.get(site, self.code_loss * (1 - tracker.energy))
            self._plans[site] = tracker.updates, plan(tracker.shares, distortion)
        made: Plan = self._plans[site][1]
        return made

    def code_bytes(self, site: str, rows: int) -> int:
        """Bytes of codes that a pack of so many rows holds, and of their steps."""
        return rows * self.layout(site).bytes_per_row + self.trackers[site].rank * 4

    def state_dict(self) -> StateDict:
        return super().state_dict() | {f"{site}/distortion": value for site, value in self._distortions.items()}

    def load_state_dict(self, state: StateDict) -> None:
        super().load_state_dict(state)
        self._plans.clear()
        self._distortions = {k.rpartition("/")[0]: x for k, x in state.items() if k.endswith("/distortion")}

    def site_bytes(self, tracker: SubspaceTracker) -> int:
        if tracker.basis is None:
            return super().site_bytes(tracker)
        return self.code_bytes(tracker.site, tracker.rows) + tracker.basis.nbytes

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
    """Store ``laser-coded`` with codes of variable length (see variable.py). How long they are is known when they are made:
    a budget is spread as for fixed lengths, which take more."""

    def __init__(self, *settings: Any) -> None:
        super().__init__(*settings)
        self._row_bytes: dict[str, float] = {}  # of the site's last pack

    def coded(self, site: str, coordinates_BLK: Tensor, seed: int) -> Coded:
        plan, (rows, positions) = self.planned(site, variable.lengths), coordinates_BLK.shape[:2]
        held = variable.encode(coordinates_BLK, plan, seed)
        self._row_bytes[site] = sum(tensor.nbytes for tensor in held) / (rows * positions)
        return held, partial(_decoded_variable, positions, plan, seed)

    def code_bytes(self, site: str, rows: int) -> int:
        """As of the last pack."""
        return round(rows * self._row_bytes.get(site, 0.0))


def _read(read: Callable[..., Tensor], *held: Tensor) -> Code:
    *tensors, basis_DK = held
    return Code(read(*tensors), basis_DK)


def _decoded(plan: Layout, seed: int, lower: Tensor, upper: Tensor, step_K: Tensor) -> Tensor:
    return decode((lower, upper), step_K, plan, seed)


def _decoded_variable(positions: int, plan: variable.Lengths, seed: int, *held: Tensor) -> Tensor:
    return variable.decode(held, positions, plan, seed)
