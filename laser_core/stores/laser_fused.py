"""The fused block with low-rank codes: what is held of an activation are its coordinates in the site's tracked basis."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor

from laser_core.events import Trace
from laser_core.stores.fused import Fused, Packed
from laser_core.stores.tracked import Code, TrackedStore
from laser_core.tracker import Policy, least_rank

if TYPE_CHECKING:
    from laser_core.layers import Sublayer


class LaserFused(Fused, TrackedStore):
    """Store ``laser-fused``. Weight gradients use the leading directions that hold ``weight_energy`` of all energy: they
    tolerate a lower rank than what is computed again does, whose errors go through the whole recursion."""

    def __init__(self, policy: Policy, budget: float = 0.0, weight_energy: float = 1.0) -> None:
        super().__init__(policy, budget)
        self.weight_energy = weight_energy
        self._projections: dict[str, Tensor] = {}

    def begin_forward(self) -> None:
        super().begin_forward()
        self._projections.clear()

    def end_step(self) -> list[Trace]:
        self._projections.clear()
        return super().end_step()

    def projected(self, site: str, x_BLD: Tensor) -> Tensor:
        basis_DK = self.basis(site, x_BLD.flatten(0, 1))
        return x_BLD if basis_DK is None else x_BLD @ basis_DK

    def pack(self, site: str, projected_BLK: Tensor) -> Packed:
        tracker, values = self.trackers.get(site), self.keep(projected_BLK, site, "code")
        if tracker is None or tracker.basis is None:
            return Packed((values,), partial(Code, basis=None))
        return Packed((values, tracker.basis), Code)

    def may_lose(self, site: str) -> float:
        tracker = self.trackers.get(site)
        if tracker is None:
            return 0.0
        return max(0.0, 1 - (tracker.fit if self.budget and tracker.updates else tracker.energy))

    def projection(self, site: str, weight_OD: Tensor, basis_DK: Tensor) -> Tensor:
        """``weight · basis`` (O, K), computed once per training step, in backward."""
        if site not in self._projections:
            self._projections[site] = weight_OD @ basis_DK
        return self._projections[site]

    def inner_weight(self, sublayer: Sublayer, site: str) -> Tensor:
        """A stand-in where the layer's input comes as a code."""
        tracker = self.trackers.get(site)
        if tracker is None or tracker.basis is None or sublayer.transposed:
            return sublayer.inner.weight
        rank = None if self.weight_energy == 1 else least_rank(tracker.shares, 1.0, self.weight_energy)
        return self.stand_in(site, sublayer.inner.weight, tracker.basis[:, :rank])
