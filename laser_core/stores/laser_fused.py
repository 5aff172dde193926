"""The fused block: one node of the graph per call of the network keeps the codes of what flows between its sublayers and
the norms' inverse norms; backward computes everything else again, cheaply, from the codes.

With ``y = rms(x + outer(core(inner(x))))`` for every sublayer, backward needs y and the inverse norms for the norm, and x for
the rest: ``inner(x) = Z·(WQ)ᵀ`` comes straight from the code. What one sublayer puts out the next takes in, so a call of
n blocks keeps 2n + 1 codes. Nonlinear parts see decoded activations, so the gradient is exact only at full rank.

Shapes: B batch, L positions, D width, K rank, O width out of the inner layer, I width into the outer layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from laser_core.events import Trace
from laser_core.stores.base import ActivationStore
from laser_core.stores.tracked import Code, TrackedStore
from laser_core.tracker import Policy

if TYPE_CHECKING:
    from laser_core.layers import Block, Sublayer

_EAGER = ActivationStore()


class LaserFused(TrackedStore):
    """Store ``laser-fused``. Sites are a block's input h and middle h1, and the last block's output h2."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self._projections: dict[str, Tensor] = {}

    def begin_forward(self) -> None:
        super().begin_forward()
        self._projections.clear()

    def end_step(self) -> list[Trace]:
        self._projections.clear()
        return super().end_step()

    def call(self, blocks: Sequence[Block], hidden_BLD: Tensor, injection_BLD: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return super().call(blocks, hidden_BLD, injection_BLD)
        sublayers = [sublayer for block in blocks for sublayer in block.sublayers]
        sites = code_sites(blocks)
        x_BLD = hidden_BLD + injection_BLD
        weights = [self._inner_weight(s, site) for s, site in zip(sublayers, sites, strict=False)]
        weights += [sublayer.outer.weight for sublayer in sublayers]
        y_BLD: Tensor = _Call.apply(self, sublayers, sites, x_BLD, *weights)  # type: ignore[no-untyped-call]
        return y_BLD

    def code(self, site: str, x_BLD: Tensor) -> Code:
        """Packs activations."""
        basis_DK = self.basis(site, x_BLD.flatten(0, 1))
        values = self.keep(x_BLD if basis_DK is None else x_BLD @ basis_DK, site, "code")
        return Code(values, basis_DK)

    def projection(self, site: str, weight_OD: Tensor, basis_DK: Tensor) -> Tensor:
        """``weight · basis`` (O, K), computed once per training step."""
        if site not in self._projections:
            self._projections[site] = weight_OD @ basis_DK
        return self._projections[site]

    def _inner_weight(self, sublayer: Sublayer, site: str) -> Tensor:
        """What takes the gradient of the inner weight: its stand-in, where the layer's input comes as a code."""
        tracker = self.trackers.get(site)
        if tracker is None or tracker.basis is None or sublayer.transposed:
            return sublayer.inner.weight
        return self.stand_in(site, sublayer.inner.weight, tracker.basis)


def code_sites(blocks: Sequence[Block]) -> list[str]:
    """The sites of a call's codes, in the order of the forward pass."""
    return [f"{block.name}.{name}" for block in blocks for name in ("h", "h1")] + [f"{blocks[-1].name}.h2"]


class _Call(Function):
    """All sublayers of a call, in turn. The gradients of weights go to ``weights``: inner ones, then outer ones."""

    @staticmethod
    def forward(
        ctx: Any, store: LaserFused, sublayers: list[Sublayer], sites: list[str], x_BLD: Tensor, *weights: Tensor
    ) -> Tensor:
        codes, inverse_norms = [store.code(sites[0], x_BLD)], []
        for sublayer, site in zip(sublayers, sites[1:], strict=True):
            x_BLD, inverse_norm = sublayer(x_BLD, _EAGER)
            codes.append(store.code(site, x_BLD))
            inverse_norms.append(store.keep(inverse_norm, site, "norm"))
        ctx.store, ctx.sublayers, ctx.sites = store, sublayers, sites
        values, bases = [code.values for code in codes], [code.basis for code in codes]
        ctx.save_for_backward(*inverse_norms, *values, *bases)
        return x_BLD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BLD: Tensor) -> tuple[Tensor | None, ...]:
        count = len(ctx.sublayers)
        saved = ctx.saved_tensors
        inverse_norms, values, bases = saved[:count], saved[count : 2 * count + 1], saved[2 * count + 1 :]
        codes = [Code(*pair) for pair in zip(values, bases, strict=True)]
        inner: list[Tensor] = []
        outer: list[Tensor] = []
        y_BLD = codes[-1].decoded()
        for index in reversed(range(count)):
            sublayer, code = ctx.sublayers[index], codes[index]
            x_BLD = code.decoded()
            packed = not sublayer.transposed and code.basis is not None
            if packed:
                source, weight = code.values, ctx.store.projection(ctx.sites[index], sublayer.inner.weight, code.basis)
            else:
                source, weight = sublayer.turned(x_BLD), sublayer.inner.weight
            gradient_BLD, d_inner, d_outer = _sublayer_backward(
                sublayer, source, weight, y_BLD, inverse_norms[index], gradient_BLD
            )
            inner.insert(0, d_inner)
            outer.insert(0, d_outer)
            y_BLD = x_BLD
        return None, None, None, gradient_BLD, *inner, *outer


def _sublayer_backward(
    sublayer: Sublayer, source: Tensor, weight: Tensor, y_BLD: Tensor, inverse_norm: Tensor, gradient_BLD: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the sublayer's input, of ``weight`` (inner(x) = source · weightᵀ) and of the outer weight."""
    y, dy = sublayer.turned(y_BLD), sublayer.turned(gradient_BLD)
    d_sum = inverse_norm * (dy - y * (dy * y).mean(-1, keepdim=True))  # RMSNorm's, from its output
    before = source @ weight.T
    with torch.enable_grad():
        leaf = before.requires_grad_()
        after = sublayer.core(leaf)
    rows_ND = d_sum.reshape(-1, d_sum.shape[-1])
    d_outer = rows_ND.T @ after.detach().reshape(-1, after.shape[-1])
    (d_before,) = torch.autograd.grad(after, leaf, d_sum @ sublayer.outer.weight)
    d_before_NO = d_before.reshape(-1, d_before.shape[-1])
    d_inner = d_before_NO.T @ source.reshape(-1, source.shape[-1])
    dx = torch.addmm(rows_ND, d_before_NO, sublayer.inner.weight).view_as(d_sum)
    return sublayer.turned(dx), d_inner, d_outer
