"""What the LASER stores share: a tracked basis for every site, and weight gradients at its rank.

Shapes: N rows, D width of the site, O width of the layer's output, K rank.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from laser_core.events import Trace
from laser_core.stores.base import ActivationStore, StateDict, in_float32
from laser_core.tracker import Policy, SubspaceTracker

if TYPE_CHECKING:
    from jaxtyping import Float


# Share of a site's energy: a cosine that is missed where no more is lost is so for other reasons, like rounding.
LEAST_LOST = 1e-6


class BasedStore(ActivationStore, ABC):
    """Packs activations with bases, and takes weight gradients at their rank."""

    def __init__(self) -> None:
        super().__init__()
        self._stand_ins: dict[tuple[str, int], Tensor] = {}

    @abstractmethod
    def basis(self, site: str, x_ND: Tensor) -> Tensor | None:
        """The basis (D, K), labelled, to pack ``x`` with, or None to keep it in full."""

    def begin_forward(self) -> None:
        super().begin_forward()
        self._stand_ins.clear()

    def end_step(self) -> list[Trace]:
        self._stand_ins.clear()
        return super().end_step()

    def stand_in(self, site: str, weight_OD: Tensor, basis_DK: Tensor) -> Tensor:
        """This forward pass's stand-in for ``weight · basis`` (see _StandIn)."""
        key = (site, basis_DK.data_ptr())
        if key not in self._stand_ins:
            self._stand_ins[key] = _StandIn.apply(weight_OD, self.keep(basis_DK, site, "basis"))  # type: ignore[no-untyped-call]
        return self._stand_ins[key]


class TrackedStore(BasedStore):
    """Sites appear at their first activation; each has one basis, shared by all recursion steps."""

    def __init__(self, policy: Policy, budget: float = 0.0) -> None:
        super().__init__()
        self.policy, self.budget = policy, budget
        self.trackers: dict[str, SubspaceTracker] = {}
        self.loss = 1.0  # share of 1 - energy that sites may lose (see ``heed``)
        self._step = 0

    def begin_step(self, step: int) -> None:
        self._step = step
        trackers = self.trackers.values()
        due = self.budget > 0 and any(
            tracker.is_due(step) for tracker in trackers
        )  # a budget is spread over all at once
        for tracker in trackers:
            tracker.begin_step(step, due)

    def end_step(self) -> list[Trace]:
        super().end_step()
        # In one order: a resumed store knows its sites in another than one that met them, and processes that train together
        # must sum over the same site at a time.
        trackers = [self.trackers[site] for site in sorted(self.trackers)]
        traces = [tracker.end_step(self._step) for tracker in trackers]
        self._step = 0
        if self.budget and any(traces):
            self.spread_budget([tracker for tracker in trackers if tracker.known])
        return [self._as_it_stands(trace) for trace in traces if trace is not None]

    def _as_it_stands(self, trace: Trace) -> Trace:
        tracker = self.trackers[trace.site]
        saved_bytes = self.site_bytes(tracker)
        return dataclasses.replace(trace, rank=tracker.rank, saved_bytes=saved_bytes, energies=tracker.energies)

    def site_bytes(self, tracker: SubspaceTracker) -> int:
        """Bytes that a site of as many rows as last seen holds."""
        return tracker.saved_bytes(tracker.rows)

    def spread_budget(self, trackers: list[SubspaceTracker]) -> None:
        """Gives the byte budget to the directions, of all sites, that hold most energy per byte."""
        left = self.budget * sum(tracker.rows * tracker.width for tracker in trackers)
        ranks = [1] * len(trackers)
        worth = [
            (share / (tracker.rows + tracker.width), index)
            for index, tracker in enumerate(trackers)
            for share in tracker.known_shares[1:]
        ]
        left -= sum(tracker.rows + tracker.width for tracker in trackers)
        for _, index in sorted(worth, reverse=True):
            left -= trackers[index].rows + trackers[index].width
            if left < 0:
                break
            ranks[index] += 1
        for tracker, rank in zip(trackers, ranks, strict=True):
            tracker.set_rank(rank)

    def basis(self, site: str, x_ND: Tensor) -> Tensor | None:
        tracker = self.trackers.get(site)
        if tracker is None:
            if not self._step:  # a look from outside of training, before its first step
                return None
            tracker = self.trackers[site] = SubspaceTracker(site, x_ND.shape[-1], self.policy)
            tracker.energy = 1 - (1 - self.policy.energy) * self.loss
            tracker.begin_step(self._step)
        if tracker.observing:
            with in_float32(x_ND):
                tracker.observe(x_ND)
        return tracker.basis if tracker.basis is None else self.keep(tracker.basis, site, "basis")

    def heed(self, cosine: float, wanted: float) -> bool:
        """The gradient's measured cosine against the exact one: below ``wanted`` every site may lose half as much from now
        on, but for a millionth of its energy, far above it half as much again, never more than the policy allows. Returns
        whether anything changed."""
        before = self.loss
        if cosine < wanted:
            least = LEAST_LOST / max(1 - self.policy.energy, LEAST_LOST)
            self.loss = min(self.loss, max(least, 0.5 * self.loss))
        elif 1 - cosine < 0.25 * (1 - wanted):
            self.loss = min(1.0, 1.5 * self.loss)
        for tracker in self.trackers.values():
            tracker.energy = 1 - (1 - self.policy.energy) * self.loss
        return self.loss != before

    def state_dict(self) -> StateDict:
        return {"loss": self.loss} | {
            f"{site}/{name}": value
            for site, tracker in self.trackers.items()
            for name, value in tracker.state_dict().items()
        }

    def load_state_dict(self, state: StateDict) -> None:
        by_site: dict[str, dict[str, Any]] = {}
        self.loss = state.get("loss", 1.0)
        for key, value in state.items():
            if key == "loss":
                continue
            site, _, name = key.rpartition("/")
            by_site.setdefault(site, {})[name] = value
        self.trackers = {}
        for site, values in by_site.items():
            try:
                self.trackers[site] = SubspaceTracker(site, values["width"], self.policy)
                self.trackers[site].load_state_dict(values)
            except KeyError as error:
                raise ValueError(f"store state: site {site!r} lacks {error}") from error


@dataclass
class Code:
    """Activations in a basis: ``values = x · basis``, or ``x`` itself where there is none."""

    values: Float[Tensor, "B L K"]
    basis: Float[Tensor, "D K"] | None
    _decoded: Float[Tensor, "B L D"] | None = field(default=None, init=False)

    def decoded(self) -> Float[Tensor, "B L D"]:
        """The activations; computed once."""
        if self._decoded is None:
            self._decoded = self.values if self.basis is None else self.values @ self.basis.T
        return self._decoded


class _StandIn(Function):
    """Takes the place of V = W·Q (O, K) in the graph, so that autograd sums dV over the recursion steps.

    The rank-K weight gradient is dW = (Σ GᵀZ)·Qᵀ, and this does the product with Qᵀ once per step instead of once per
    call: with few rows it would cost as much as GᵀZ itself. Its numbers are never read, so it has one.
    """

    @staticmethod
    def forward(ctx: Any, weight_OD: Tensor, basis_DK: Tensor) -> Tensor:
        ctx.save_for_backward(basis_DK)
        return weight_OD.new_zeros(()).expand(weight_OD.shape[0], basis_DK.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_OK: Tensor) -> tuple[Tensor, None]:
        (basis_DK,) = ctx.saved_tensors
        return gradient_OK @ basis_DK.T, None
