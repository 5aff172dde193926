"""The fused block: one node of the graph per call of the network holds what was packed of the activations that flow between
its sublayers, and the norms' inverse norms; backward computes everything else again from them.

With ``y = rms(x + outer(core(inner(x))))`` for every sublayer, backward needs y and the inverse norms for the norm, and x for
the rest. What one sublayer puts out the next takes in, so a call of n blocks holds 2n + 1 packs; ``keep="call"`` holds the
first alone and runs the sublayers again from it. Nonlinear parts see unpacked activations, so the gradient is exact only
where packing loses nothing.

Shapes: B batch, L positions, D width, K rank, O width out of the inner layer, I width into the outer layer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from laser_core.stores.base import ActivationStore, autocast_as_now
from laser_core.stores.tracked import Code

if TYPE_CHECKING:
    from laser_core.layers import Block, Sublayer

_EAGER = ActivationStore()


@dataclass(frozen=True)
class Packed:
    """What is held of activations: tensors, and the function that reads them."""

    tensors: tuple[Tensor, ...]
    read: Callable[..., Code]


class Fused(ActivationStore, ABC):
    """Sites are a block's input h and middle h1, and the last block's output h2."""

    keeps: Literal["sublayer", "call"] = "sublayer"
    backward_in_bfloat16 = False  # whatever the forward pass multiplies in

    @abstractmethod
    def pack(self, site: str, x_BLD: Tensor) -> Packed:
        """Packs activations; what it holds is labelled."""

    def inner_weight(self, sublayer: Sublayer, site: str) -> Tensor:
        """What takes the gradient of the inner weight (see ``tracked.TrackedStore.stand_in``)."""
        return sublayer.inner.weight

    def projection(self, site: str, weight_OD: Tensor, basis_DK: Tensor) -> Tensor:
        """``weight · basis`` (O, K)."""
        return weight_OD @ basis_DK

    def call(self, blocks: Sequence[Block], hidden_BLD: Tensor, injection_BLD: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return super().call(blocks, hidden_BLD, injection_BLD)
        sublayers = [sublayer for block in blocks for sublayer in block.sublayers]
        sites = code_sites(blocks)
        x_BLD = hidden_BLD + injection_BLD
        weights = [self.inner_weight(s, site) for s, site in zip(sublayers, sites, strict=False)]
        weights += [sublayer.outer.weight for sublayer in sublayers]
        y_BLD: Tensor = _Call.apply(self, sublayers, sites, x_BLD, *weights)  # type: ignore[no-untyped-call]
        return y_BLD


def code_sites(blocks: Sequence[Block]) -> list[str]:
    """The sites of a call's packs, in the order of the forward pass."""
    return [f"{block.name}.{name}" for block in blocks for name in ("h", "h1")] + [f"{blocks[-1].name}.h2"]


class _Call(Function):
    """All sublayers of a call, in turn. The gradients of weights go to ``weights``: inner ones, then outer ones."""

    @staticmethod
    def forward(
        ctx: Any, store: Fused, sublayers: list[Sublayer], sites: list[str], x_BLD: Tensor, *weights: Tensor
    ) -> Tensor:
        packs, inverse_norms = [store.pack(sites[0], x_BLD)], []
        for sublayer, site in zip(sublayers, sites[1:], strict=True):
            x_BLD, inverse_norm = sublayer(x_BLD, _EAGER)
            if store.keeps == "sublayer":
                packs.append(store.pack(site, x_BLD))
                inverse_norms.append(store.keep(inverse_norm, site, "norm"))
        ctx.store, ctx.sublayers, ctx.sites = store, sublayers, sites
        ctx.autocast = (
            torch.autocast(x_BLD.device.type, torch.bfloat16) if store.backward_in_bfloat16 else autocast_as_now(x_BLD)
        )
        ctx.reads = [(pack.read, len(pack.tensors)) for pack in packs]
        # A stand-in, not the weight itself: then the gradient wanted is that of weight · (the basis's leading columns).
        given_for = zip(weights, sublayers, strict=False)
        ctx.ranks = [None if given is sublayer.inner.weight else given.shape[1] for given, sublayer in given_for]
        ctx.save_for_backward(*inverse_norms, *(tensor for pack in packs for tensor in pack.tensors))
        return x_BLD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BLD: Tensor) -> tuple[Tensor | None, ...]:
        with ctx.autocast:
            return _call_backward(ctx, gradient_BLD)


def _call_backward(ctx: Any, gradient_BLD: Tensor) -> tuple[Tensor | None, ...]:
    codes, inverse_norms = _unpacked(ctx)
    inner_ends: list[tuple[Tensor, Tensor]] | None = None
    if ctx.store.keeps == "call":
        codes, inverse_norms, inner_ends = _run_again(ctx, codes[0])
    inner: list[Tensor] = []
    outer: list[Tensor] = []
    y_BLD = codes.pop().decoded()
    for index in reversed(range(len(ctx.sublayers))):
        code = codes.pop()
        source, before = _inner_ends(ctx, index, code) if inner_ends is None else inner_ends.pop()
        gradient_BLD, d_inner, d_outer = _sublayer_backward(
            ctx.sublayers[index], source[..., : ctx.ranks[index]], before, y_BLD, inverse_norms.pop(), gradient_BLD
        )
        inner.insert(0, d_inner)
        outer.insert(0, d_outer)
        if index:  # nothing needs the call's own input
            y_BLD = code.decoded()
    return None, None, None, gradient_BLD, *inner, *outer


def _unpacked(ctx: Any) -> tuple[list[Code], list[Tensor]]:
    saved = list(ctx.saved_tensors)
    held = len(saved) - sum(count for _, count in ctx.reads)
    inverse_norms, tensors = saved[:held], iter(saved[held:])
    return [read(*(next(tensors) for _ in range(count))) for read, count in ctx.reads], inverse_norms


def _inner_ends(ctx: Any, index: int, code: Code) -> tuple[Tensor, Tensor]:
    """What a sublayer's inner layer takes in, (B, L, K) where it comes as a code, else (B, L, D) turned, and what it puts
    out, (B, L, O) turned."""
    sublayer = ctx.sublayers[index]
    if ctx.ranks[index] is not None and code.basis is not None:
        projection = ctx.store.projection(ctx.sites[index], sublayer.inner.weight, code.basis)
        return code.values, code.values @ projection.T
    source = sublayer.turned(code.decoded())
    return source, source @ sublayer.inner.weight.T


def _run_again(ctx: Any, code: Code) -> tuple[list[Code], list[Tensor], list[tuple[Tensor, Tensor]]]:
    """What the sublayers between put out, the norms' inverse norms and the inner layers' ends, from the call's input."""
    codes, inverse_norms, inner_ends = [code], list[Tensor](), list[tuple[Tensor, Tensor]]()
    for index, sublayer in enumerate(ctx.sublayers):
        inner_ends.append(_inner_ends(ctx, index, codes[-1]))
        y, inverse_norm = sublayer.after_inner(sublayer.turned(codes[-1].decoded()), inner_ends[-1][1], _EAGER)
        codes.append(Code(sublayer.turned(y), None))
        inverse_norms.append(inverse_norm)
    return codes, inverse_norms, inner_ends


def _sublayer_backward(
    sublayer: Sublayer, source: Tensor, before: Tensor, y_BLD: Tensor, inverse_norm: Tensor, gradient_BLD: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the sublayer's input, of the inner weight (or its stand-in, where ``source`` is a code, cut to as many
    columns) and of the outer weight; ``before`` is what the inner layer put out."""
    y, dy = sublayer.turned(y_BLD), sublayer.turned(gradient_BLD)
    d_sum = inverse_norm * torch.addcmul(dy, y, (dy * y).mean(-1, keepdim=True), value=-1)  # RMSNorm's, from its output
    after, d_before = sublayer.core.vjp(before, d_sum @ sublayer.outer.weight)
    rows_ND = d_sum.reshape(-1, d_sum.shape[-1])
    d_outer = rows_ND.T @ after.reshape(-1, after.shape[-1])
    d_before_NO = d_before.reshape(-1, d_before.shape[-1])
    d_inner = d_before_NO.T @ source.reshape(-1, source.shape[-1])
    dx = (rows_ND + d_before_NO @ sublayer.inner.weight).view_as(d_sum)  # the residual's gradient keeps its precision
    return sublayer.turned(dx), d_inner, d_outer
