"""What the two LASER stores share: a tracked basis for every site, and weight gradients at its rank.

Shapes: N rows, D width of the site, O width of the layer's output, K rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from laser_core.events import Trace
from laser_core.stores.base import ActivationStore, StateDict
from laser_core.tracker import Policy, SubspaceTracker

if TYPE_CHECKING:
    from jaxtyping import Float


class TrackedStore(ActivationStore):
    """Sites appear at their first activation; each has one basis, shared by all recursion steps."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy
        self.trackers: dict[str, SubspaceTracker] = {}
        self._step = 0
        self._stand_ins: dict[str, Tensor] = {}

    def begin_step(self, step: int) -> None:
        self._step = step
        for tracker in self.trackers.values():
            tracker.begin_step(step)

    def end_step(self) -> list[Trace]:
        self._stand_ins.clear()
        traces = [tracker.end_step(self._step) for tracker in self.trackers.values()]
        self._step = 0
        return [trace for trace in traces if trace is not None]

    def begin_forward(self) -> None:
        super().begin_forward()
        self._stand_ins.clear()

    def basis(self, site: str, x_ND: Tensor) -> Tensor | None:
        """The basis to pack ``x`` with, or None to keep it in full; lets the site's tracker see it."""
        tracker = self.trackers.get(site)
        if tracker is None:
            if not self._step:  # a look from outside of training, before its first step
                return None
            tracker = self.trackers[site] = SubspaceTracker(site, x_ND.shape[-1], self.policy)
            tracker.begin_step(self._step)
        if tracker.observing:
            tracker.observe(x_ND)
        return tracker.basis if tracker.basis is None else self.keep(tracker.basis, site, "basis")

    def stand_in(self, site: str, weight_OD: Tensor, basis_DK: Tensor) -> Tensor:
        """This forward pass's stand-in for ``weight · basis`` (see _StandIn)."""
        if site not in self._stand_ins:
            self._stand_ins[site] = _StandIn.apply(weight_OD, self.keep(basis_DK, site, "basis"))  # type: ignore[no-untyped-call]
        return self._stand_ins[site]

    def state_dict(self) -> StateDict:
        return {
            f"{site}/{name}": value
            for site, tracker in self.trackers.items()
            for name, value in tracker.state_dict().items()
        }

    def load_state_dict(self, state: StateDict) -> None:
        by_site: dict[str, dict[str, Any]] = {}
        for key, value in state.items():
            site, _, name = key.rpartition("/")
            by_site.setdefault(site, {})[name] = value
        self.trackers = {}
        for site, values in by_site.items():
            try:
                self.trackers[site] = SubspaceTracker(site, values["width"], self.policy)
                self.trackers[site].load_state_dict(values)
            except KeyError as error:
                raise ValueError(f"store state: site {site!r} lacks {error}") from error


@dataclass(frozen=True)
class Code:
    """Activations in a basis: ``values = x · basis``, or ``x`` itself where there is none."""

    values: Float[Tensor, "N K"]
    basis: Float[Tensor, "D K"] | None

    def decoded(self) -> Float[Tensor, "N D"]:
        return self.values if self.basis is None else self.values @ self.basis.T


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
