"""LASER (arXiv 2604.17224): keeps the input of every linear layer in a tracked low-rank basis.

Shapes: N rows, D width in, O width out, K rank.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from laser_core.stores.base import autocast_as_now
from laser_core.stores.tracked import BasedStore, TrackedStore

if TYPE_CHECKING:
    from laser_core.layers import Linear


class LinearInputs(BasedStore):
    """Codes the input of every linear layer. The gradient of a layer's input stays exact; that of its weight is dW·QQᵀ."""

    def linear(self, layer: Linear, x_ND: Tensor) -> Tensor:
        # What attention gives to its output projection it also keeps itself: a code would be held on top of it.
        if layer.input_is_held or not torch.is_grad_enabled():
            return super().linear(layer, x_ND)
        basis_DK = self.basis(layer.site, x_ND)
        if basis_DK is None:
            return super().linear(layer, x_ND)
        code_NK = self.keep(x_ND.detach() @ basis_DK, layer.site, "code")
        y_NO: Tensor = _Linear.apply(x_ND, layer.weight, self.stand_in(layer.site, layer.weight, basis_DK), code_NK)  # type: ignore[no-untyped-call]
        return y_NO


class Laser(LinearInputs, TrackedStore):
    """Store ``laser``."""


class _Linear(Function):
    """``x Wᵀ``, with the gradient of W·Q (its stand-in) from the code of x."""

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, weight_OD: Tensor, stand_in_OK: Tensor, code_NK: Tensor) -> Tensor:
        ctx.save_for_backward(weight_OD, code_NK)
        ctx.autocast = autocast_as_now(x_ND)
        return F.linear(x_ND, weight_OD)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_NO: Tensor) -> tuple[Tensor, None, Tensor, None]:
        weight_OD, code_NK = ctx.saved_tensors
        with ctx.autocast:
            return gradient_NO @ weight_OD, None, gradient_NO.T @ code_NK, None
