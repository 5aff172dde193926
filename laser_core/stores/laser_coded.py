"""The fused block with packed codes: coordinates in the site's tracked eigenbasis, a few bits each (see coding.py).

The basis leaves at most 1 - ε of the activations' energy out, and the codes lose at most ``code_loss`` times as much. Losses
split equally cost the fewest bits; finer codes in fewer directions cost the least time at the same gradient.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from laser_core.stores.base import StateDict, in_float32
from laser_core.stores.coding import WORD_BITS, Layout, decode, encode, expected_error, layout, widths_at
from laser_core.stores.fused import Packed
from laser_core.stores.laser_fused import LaserFused
from laser_core.stores.tracked import Code
from laser_core.tracker import Policy, SubspaceTracker


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
        self._layouts: dict[str, tuple[int, Layout]] = {}  # site -> (update that it was made from, layout)

    def begin_forward(self) -> None:
        super().begin_forward()
        self._packs = 0

    def pack(self, site: str, x_BLD: Tensor) -> Packed:
        basis_DK = self.basis(site, x_BLD.flatten(0, 1))
        if basis_DK is None:
            return self.in_full(site, x_BLD)
        self._packs += 1
        seed = (self._seed * 1_000_003 + self._step) * 4096 + self._packs
        plan = self.layout(site)
        with in_float32(x_BLD):
            packed, step_K = encode(x_BLD.float() @ basis_DK, plan, seed)
        held = (*(self.keep(tensor, site, "code") for tensor in (*packed, step_K)), basis_DK)
        return Packed(held, partial(_read, plan, seed))

    def layout(self, site: str) -> Layout:
        """Where the bits of the site's directions stand, as of its last update."""
        tracker = self.trackers[site]
        made, plan = self._layouts.get(site, (-1, None))
        if plan is None or made != tracker.updates:
            plan = layout(tracker.shares, self._distortions.get(site, self.code_loss * (1 - tracker.energy)))
            self._layouts[site] = tracker.updates, plan
        return plan

    def state_dict(self) -> StateDict:
        return super().state_dict() | {f"{site}/distortion": value for site, value in self._distortions.items()}

    def load_state_dict(self, state: StateDict) -> None:
        super().load_state_dict(state)
        self._layouts.clear()
        self._distortions = {k.rpartition("/")[0]: x for k, x in state.items() if k.endswith("/distortion")}

    def site_bytes(self, tracker: SubspaceTracker) -> int:
        if tracker.basis is None:
            return super().site_bytes(tracker)
        return tracker.rows * self.layout(tracker.site).bytes_per_row + tracker.basis.nbytes

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


def _read(plan: Layout, seed: int, lower: Tensor, upper: Tensor, step_K: Tensor, basis_DK: Tensor) -> Code:
    return Code(decode((lower, upper), step_K, plan, seed), basis_DK)
