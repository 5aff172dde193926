"""The fused block: one node of the graph per call of the network holds what was packed of the activations that flow between
its sublayers, and the norms' inverse norms; backward computes everything else again from them.

With ``y = rms(x + outer(core(inner(x))))`` for every sublayer, backward needs y and the inverse norms for the norm, and x for
the rest. What one sublayer puts out the next takes in, so a call of n blocks holds 2n + 1 packs; ``keep="call"`` holds the
first alone and runs the sublayers again from it. Nonlinear parts see unpacked activations, so the gradient is exact only
where packing loses nothing.

Recursion comes to rest: most calls of a trained model leave a puzzle about where it was. With ``reuse`` such a call holds
nothing of that puzzle and refers to the record of the last call that moved it. All calls that refer to a record have the same
activations, so backward computes these once, sums the calls' gradients at both ends of the weights, and multiplies once.

Shapes: B batch, R puzzles of a record, L positions, D width, K rank, O width out of the inner layer, I width into the outer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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


@dataclass
class Record:
    """What a call holds of the puzzles that it moved; and, in backward, what the calls that refer to it share: its codes by
    site, both ends of its inner layers, and sums of their gradients, turned, at the outer layers' output (R, L, D) and at the
    inner layers' (R, L, O)."""

    size: int
    reads: list[tuple[Callable[..., Code], int]]  # of each pack, and how many tensors it has
    calls: int = 1
    codes: list[Code] = field(default_factory=list)
    inverse_norms: list[Tensor] = field(default_factory=list)
    ends: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    sums: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def opened(self, tensors: Sequence[Tensor]) -> tuple[list[Packed], list[Tensor]]:
        """The packs, and the inverse norms, that all its tensors are."""
        held = len(tensors) - sum(count for _, count in self.reads)
        left = iter(tensors[held:])
        packs = [Packed(tuple(next(left) for _ in range(count)), read) for read, count in self.reads]
        return packs, list(tensors[:held])

    def close(self) -> None:
        """Lets go of what backward shares."""
        self.codes, self.inverse_norms = [], []
        self.ends.clear()
        self.sums.clear()

    def add(self, index: int, rows: Tensor | None, gradients: tuple[Tensor, Tensor]) -> None:
        """Gradients at both ends of sublayer ``index``, of some of the record's puzzles or of all."""
        if index not in self.sums and rows is None:
            self.sums[index] = gradients
            return
        if index not in self.sums:
            d_sum, d_before = (x.new_zeros(self.size, *x.shape[1:]) for x in gradients)
            self.sums[index] = d_sum, d_before
        for total, gradient in zip(self.sums[index], gradients, strict=True):
            total[slice(None) if rows is None else rows] += gradient


@dataclass(frozen=True)
class Part:
    """Puzzles of a batch and the record that holds them, as which of its own; both ascend."""

    puzzles: list[int]
    record: Record
    rows: list[int]
    tensors: tuple[Tensor, ...]  # all of the record's

    def without(self, moved: set[int]) -> Part:
        """The other puzzles."""
        left = [(puzzle, row) for puzzle, row in zip(self.puzzles, self.rows, strict=True) if puzzle not in moved]
        return Part([puzzle for puzzle, _ in left], self.record, [row for _, row in left], self.tensors)


class Fused(ActivationStore, ABC):
    """Sites are a block's input h and middle h1, and the last block's output h2."""

    keeps: Literal["sublayer", "call"] = "sublayer"
    backward_in_bfloat16 = False  # whatever the forward pass multiplies in
    reuse = 0.0  # how far from its record a puzzle may be where that still serves, as a multiple of what may be lost
    _parts: Sequence[Part] = ()  # of the last call,
    _lasts: Sequence[Tensor] = ()  # and what its records were made of, by site

    @abstractmethod
    def projected(self, site: str, x_BLD: Tensor) -> Tensor:
        """What is packed of activations: themselves, or their coordinates (B, L, K)."""

    @abstractmethod
    def pack(self, site: str, projected_BLK: Tensor) -> Packed:
        """Packs them, or those of some puzzles; what it holds is labelled."""

    def may_lose(self, site: str) -> float:
        """Share of the site's energy that may be lost."""
        return 0.0

    def inner_weight(self, sublayer: Sublayer, site: str) -> Tensor:
        """What takes the gradient of the inner weight (see ``tracked.TrackedStore.stand_in``)."""
        return sublayer.inner.weight

    def projection(self, site: str, weight_OD: Tensor, basis_DK: Tensor) -> Tensor:
        """``weight · basis`` (O, K)."""
        return weight_OD @ basis_DK

    def begin_forward(self) -> None:
        super().begin_forward()
        self.end_forward()  # the last one may have been interrupted

    def end_forward(self) -> None:
        super().end_forward()
        self._parts = self._lasts = ()

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

    def hold(self, sites: list[str], xs: list[Tensor], inverse_norms: list[Tensor]) -> list[Part]:
        """What a call holds: the parts of earlier ones, of puzzles that it left where they were, and last, if it moved any, a
        part of their own. ``inverse_norms`` are kept beside the packs; with ``keeps="call"`` there are none."""
        projected = [self.projected(site, x_BLD) for site, x_BLD in zip(sites, xs, strict=False)]
        moved = self._moved(sites, projected)
        rows = _index(moved, projected[0])
        if self.reuse and moved:
            self._lasts = [
                _replaced(last, x, rows) for last, x in zip(self._lasts or projected, projected, strict=True)
            ]
        parts = [left for part in self._parts if (left := part.without(set(moved))).puzzles]
        for part in parts:
            part.record.calls += 1
        if moved:
            packs = [self.pack(site, _some(x, rows)) for site, x in zip(sites, projected, strict=False)]
            norms = [self.keep(_some(x, rows), site, "norm") for site, x in zip(sites[1:], inverse_norms, strict=False)]
            record = Record(len(moved), [(pack.read, len(pack.tensors)) for pack in packs])
            tensors = (*norms, *(tensor for pack in packs for tensor in pack.tensors))
            parts.append(Part(moved, record, list(range(len(moved))), tensors))
        self._parts = parts if self.reuse else ()
        return parts

    def _moved(self, sites: list[str], projected: list[Tensor]) -> list[int]:
        """The puzzles that aren't, at every site, about where their record has them, nor in a record that would serve less than
        half of its own: so what backward shares is never more than two calls' worth."""
        every = range(len(projected[0]))
        if not self._lasts:
            return list(every)
        still_B = torch.ones(len(every), dtype=torch.bool, device=projected[0].device)
        for site, now, last in zip(sites, projected, self._lasts, strict=False):
            allowed = self.reuse * self.may_lose(site)
            distance_B = (now - last).square().sum((1, 2))
            still_B &= (distance_B <= allowed * now.square().sum((1, 2))) & distance_B.isfinite()
        moved = {puzzle for puzzle, still in zip(every, still_B.tolist(), strict=True) if not still}
        for part in self._parts:
            left = [puzzle for puzzle in part.puzzles if puzzle not in moved]
            if 2 * len(left) < part.record.size:
                moved.update(left)
        return sorted(moved)


def code_sites(blocks: Sequence[Block]) -> list[str]:
    """The sites of a call's packs, in the order of the forward pass."""
    return [f"{block.name}.{name}" for block in blocks for name in ("h", "h1")] + [f"{blocks[-1].name}.h2"]


def _index(rows: list[int], x: Tensor) -> Tensor | None:
    """Some rows of ``x``, on its device; None for all."""
    return None if len(rows) == len(x) else torch.tensor(rows, dtype=torch.int64, device=x.device)


def _some(x: Tensor, rows: Tensor | None) -> Tensor:
    return x if rows is None else x[rows]


def _replaced(x: Tensor, by: Tensor, rows: Tensor | None) -> Tensor:
    """``x`` with some rows of another tensor."""
    return by if rows is None else x.index_copy(0, rows, by[rows])


class _Referred:
    """A part as backward needs it: without its tensors, which autograd saves. Its indices aren't counted as held."""

    def __init__(self, part: Part, x_BLD: Tensor) -> None:
        self.record, self.tensors = part.record, len(part.tensors)
        self.puzzles, self.rows = _index(part.puzzles, x_BLD), _index(part.rows, x_BLD[: part.record.size])
        self._number = part.record.calls

    @property
    def is_last(self) -> bool:
        """Whether no later call refers to the record: backward comes to this one first."""
        return self._number == self.record.calls


class _Call(Function):
    """All sublayers of a call, in turn. The gradients of weights go to ``weights``: inner ones, then outer ones."""

    @staticmethod
    def forward(
        ctx: Any, store: Fused, sublayers: list[Sublayer], sites: list[str], x_BLD: Tensor, *weights: Tensor
    ) -> Tensor:
        xs, inverse_norms = [x_BLD], list[Tensor]()
        for sublayer in sublayers:
            x_BLD, inverse_norm = sublayer(x_BLD, _EAGER)
            if store.keeps == "sublayer":
                xs.append(x_BLD)
                inverse_norms.append(inverse_norm)
        parts = store.hold(sites, xs, inverse_norms)
        ctx.parts = [_Referred(part, x_BLD) for part in parts]
        ctx.own = parts[-1].record if parts[-1].record.calls == 1 else None
        ctx.store, ctx.sublayers, ctx.sites = store, sublayers, sites
        ctx.autocast = (
            torch.autocast(x_BLD.device.type, torch.bfloat16) if store.backward_in_bfloat16 else autocast_as_now(x_BLD)
        )
        # A stand-in, not the weight itself: then the gradient wanted is that of weight · (the basis's leading columns).
        given_for = zip(weights, sublayers, strict=False)
        ctx.ranks = [None if given is sublayer.inner.weight else given.shape[1] for given, sublayer in given_for]
        ctx.save_for_backward(*(tensor for part in parts for tensor in part.tensors))
        return x_BLD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BLD: Tensor) -> tuple[Tensor | None, ...]:
        with ctx.autocast:
            return _call_backward(ctx, gradient_BLD)


def _call_backward(ctx: Any, gradient_BLD: Tensor) -> tuple[Tensor | None, ...]:
    saved = iter(ctx.saved_tensors)
    of_weights: list[Tensor | None] = [None] * (2 * len(ctx.sublayers))
    dx_BLD: Tensor | None = None
    for part in ctx.parts:
        tensors = [next(saved) for _ in range(part.tensors)]
        if part.is_last:
            _open(ctx, part.record, tensors)
        dx, of_record = _record_backward(ctx, part.record, part.rows, _some(gradient_BLD, part.puzzles))
        of_weights = of_record or of_weights
        if part.puzzles is None:
            dx_BLD = dx
        else:
            dx_BLD = dx.new_empty(gradient_BLD.shape) if dx_BLD is None else dx_BLD
            dx_BLD[part.puzzles] = dx
    return None, None, None, dx_BLD, *of_weights


def _open(ctx: Any, record: Record, saved: list[Tensor]) -> None:
    """Reads what the record holds. An earlier backward pass of a kept graph may have ended half-way."""
    record.close()
    packs, record.inverse_norms = record.opened(saved)
    record.codes = [pack.read(*pack.tensors) for pack in packs]
    if ctx.store.keeps == "call":
        _run_again(ctx, record)


def _run_again(ctx: Any, record: Record) -> None:
    """All sublayers, from the call's input."""
    for index, sublayer in enumerate(ctx.sublayers):
        x = sublayer.turned(record.codes[-1].decoded())
        record.ends[index] = _inner_ends(ctx, index, record.codes[-1])
        y, inverse_norm = sublayer.after_inner(x, record.ends[index][1], _EAGER)
        record.codes.append(Code(sublayer.turned(y), None))
        record.inverse_norms.append(inverse_norm)


def _record_backward(
    ctx: Any, record: Record, rows: Tensor | None, gradient: Tensor
) -> tuple[Tensor, list[Tensor | None]]:
    """The gradient of a call's input, of some of the record's puzzles. Those of the weights come from the call that made the
    record, of all calls together: backward comes to it last."""
    inner, outer = list[Tensor | None](), list[Tensor | None]()
    for index in reversed(range(len(ctx.sublayers))):
        gradient, *of_weights = _sublayer_backward(ctx, record, index, rows, gradient)
        inner[:0], outer[:0] = of_weights[:1], of_weights[1:]
    if record is ctx.own:
        record.close()
    return gradient, inner + outer


def _sublayer_backward(
    ctx: Any, record: Record, index: int, rows: Tensor | None, gradient: Tensor
) -> tuple[Tensor, ...]:
    """The gradient of the sublayer's input, and, if it is time, those of its inner and outer weight."""
    sublayer, is_own = ctx.sublayers[index], record is ctx.own
    if index not in record.ends:
        record.ends[index] = _inner_ends(ctx, index, record.codes[index])
    source, before = record.ends.pop(index) if is_own else record.ends[index]
    y, dy = sublayer.turned(_some(record.codes[index + 1].decoded(), rows)), sublayer.turned(gradient)
    if is_own:
        record.codes.pop()
    inverse_norm = _some(record.inverse_norms[index], rows)
    d_sum = inverse_norm * torch.addcmul(dy, y, (dy * y).mean(-1, keepdim=True), value=-1)  # RMSNorm's, from its output
    del y, dy
    after, d_before = sublayer.core.vjp(_some(before, rows), d_sum @ sublayer.outer.weight)
    del before
    dx = sublayer.turned(d_sum + d_before @ sublayer.inner.weight)  # the residual's gradient keeps its precision
    record.add(index, rows, (d_sum, d_before))
    if not is_own:
        return (dx,)
    d_sum, d_before = record.sums.pop(index)
    return dx, _product(d_before, source[..., : ctx.ranks[index]]), _product(d_sum, after)


def _inner_ends(ctx: Any, index: int, code: Code) -> tuple[Tensor, Tensor]:
    """What a sublayer's inner layer takes in, (R, L, K) where it comes as a code, else (R, L, D) turned, and what it puts
    out, (R, L, O) turned."""
    sublayer = ctx.sublayers[index]
    if ctx.ranks[index] is not None and code.basis is not None:
        projection = ctx.store.projection(ctx.sites[index], sublayer.inner.weight, code.basis)
        return code.values, code.values @ projection.T
    source = sublayer.turned(code.decoded())
    return source, source @ sublayer.inner.weight.T


def _product(gradient: Tensor, x: Tensor) -> Tensor:
    """The gradient of a layer's weight, from that of what it puts out and what it takes in."""
    return gradient.reshape(-1, gradient.shape[-1]).T @ x.reshape(-1, x.shape[-1])
