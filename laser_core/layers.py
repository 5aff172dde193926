"""The pieces of TRM's one small network, each written so that an activation store can choose what backward sees.

A block is two sublayers, and every sublayer has the same form, ``y = rms(x + outer(core(inner(x))))``: attention (inner
= qkv, outer = o), SwiGLU (gate_up, down), and the token mixer, which is a SwiGLU over positions. The fused store's
backward is one function because of it.

Shapes: B batch, L positions, D width, H heads, N rows (all leading dimensions), I width between inner and outer.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from laser_core.config import ModelConfig

if TYPE_CHECKING:
    from jaxtyping import Float

    from laser_core.stores.base import ActivationStore

NORM_EPSILON = 1e-5
ROPE_BASE = 10_000.0
_STD_OF_NORMAL_CUT_AT_2 = 0.87962566103423978


def truncated_normal(shape: tuple[int, ...], std: float, generator: torch.Generator | None) -> Tensor:
    """Normal numbers cut at two sigma whose standard deviation is ``std`` after the cut (as JAX's initialiser)."""
    sigma = std / _STD_OF_NORMAL_CUT_AT_2
    return nn.init.trunc_normal_(torch.empty(shape), std=sigma, a=-2 * sigma, b=2 * sigma, generator=generator)


class Linear(nn.Module):
    """A linear layer without bias; ``site`` names its input to the activation store."""

    kind = "linear"

    def __init__(self, width_in: int, width_out: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(truncated_normal((width_out, width_in), width_in**-0.5, generator))
        self.site = ""  # given by the block, which knows this layer's place
        self.input_is_held = False  # whether the operation before it keeps its input for backward in any case

    def forward(self, x: Tensor, store: ActivationStore) -> Tensor:
        """``x`` (..., width_in) to (..., width_out)."""
        # Flattened here, because matmul's own choice of kernel depends on who needs gradients.
        y_NO = store.linear(self, x.reshape(-1, x.shape[-1]))
        return y_NO.view(*x.shape[:-1], -1)


class RMSNorm(nn.Module):
    """Weightless RMSNorm over the last dimension, computed in float32."""

    kind = "norm"

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The normalised ``x`` and the inverse norms (..., 1) it was multiplied by."""
        wide = x.float()
        inverse_norm = torch.rsqrt(wide.square().mean(-1, keepdim=True) + NORM_EPSILON)
        return (wide * inverse_norm).to(x.dtype), inverse_norm


class SelfAttention(nn.Module):
    """Scaled dot-product attention between all positions, from packed queries, keys and values."""

    kind = "attention"
    cos: Tensor
    sin: Tensor

    def __init__(self, width: int, heads: int, positions: int, *, rope: bool) -> None:
        super().__init__()
        self.heads, self.rope = heads, rope
        if rope:
            head_width = width // heads
            frequencies = 1.0 / ROPE_BASE ** (torch.arange(0, head_width, 2, dtype=torch.float32) / head_width)
            angles = torch.outer(torch.arange(positions, dtype=torch.float32), frequencies).repeat(1, 2)
            self.register_buffer("cos", angles.cos(), persistent=False)
            self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, qkv: Float[Tensor, "B L 3D"]) -> Float[Tensor, "B L D"]:
        query, key, value = self._by_head(qkv)
        if self.rope:
            query, key = self._rotated(query), self._rotated(key)
        return self._attention(query, key, value).transpose(1, 2).flatten(-2)

    def _attention(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if query.device.type == "cpu" and torch.is_autocast_enabled("cpu"):  # in bfloat16 it takes three times as long
            with torch.autocast("cpu", enabled=False):
                return F.scaled_dot_product_attention(query.float(), key.float(), value.float())
        return F.scaled_dot_product_attention(query, key, value)

    def vjp(self, qkv: Tensor, d_out: Tensor) -> tuple[Tensor, Tensor]:
        """Output, and gradient of ``qkv``; the rotation's own is a rotation back, so autograd sees the attention alone."""
        query, key, value = self._by_head(qkv)
        if self.rope:
            query, key = (self._turn(x, torch.empty_like(x), 1) for x in (query, key))
        inputs = tuple(x.detach().requires_grad_() for x in (query, key, value))
        with torch.enable_grad():
            out = self._attention(*inputs)
        d_heads = d_out.reshape(*d_out.shape[:2], self.heads, -1).transpose(1, 2)
        gradients = torch.autograd.grad(out, inputs, d_heads.to(out.dtype))
        d_qkv = torch.empty_like(qkv)
        for number, (gradient, place) in enumerate(zip(gradients, self._by_head(d_qkv), strict=True)):
            if self.rope and number < 2:
                self._turn(gradient, place, -1)
            else:
                place.copy_(gradient)
        return out.detach().transpose(1, 2).flatten(-2), d_qkv

    def _by_head(self, qkv: Tensor) -> Float[Tensor, "3 B H L D/H"]:
        return qkv.view(*qkv.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)

    def _rotated(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=-1)
        return x * self.cos + torch.cat((-second, first), dim=-1) * self.sin

    def _turn(self, x: Tensor, out: Tensor, sign: int) -> Tensor:
        """Writes ``x`` rotated to ``out``; back with sign -1. Outside of autograd, without its copies."""
        half = x.shape[-1] // 2
        cos, sin = self.cos[:, :half], self.sin[:, :half]
        (first, second), (to_first, to_second) = x.chunk(2, dim=-1), out.chunk(2, dim=-1)
        torch.mul(first, cos, out=to_first).addcmul_(second, sin, value=-sign)
        torch.mul(second, cos, out=to_second).addcmul_(first, sin, value=sign)
        return out


class GatedSiLU(nn.Module):
    """silu(gate) · up, from gate and up packed."""

    kind = "swiglu"

    def forward(self, gate_up: Tensor) -> Tensor:
        gate, up = gate_up.chunk(2, dim=-1)
        return F.silu(gate) * up

    def vjp(self, gate_up: Tensor, d_out: Tensor) -> tuple[Tensor, Tensor]:
        """Output, and gradient of ``gate_up``, without the copies that autograd makes of its halves. Overwrites ``d_out``."""
        gate, up = gate_up.chunk(2, dim=-1)
        d_gate, d_up = (d_gate_up := torch.empty_like(gate_up)).chunk(2, dim=-1)
        silu = F.silu(gate)
        torch.mul(d_out, silu, out=d_up)
        d_gate.copy_(torch.ops.aten.silu_backward(d_out.mul_(up), gate))
        return silu.mul_(up), d_gate_up


class Sublayer(nn.Module):
    """``y = rms(x + outer(core(inner(x))))``, post-norm."""

    transposed = False  # whether it works along positions instead of features
    sites = ("inner", "outer")  # the field's words for its two linear layers
    inner: Linear
    core: SelfAttention | GatedSiLU
    outer: Linear

    def __init__(self) -> None:
        super().__init__()
        self.norm = RMSNorm()

    def forward(self, x_BLD: Tensor, store: ActivationStore) -> tuple[Tensor, Tensor]:
        """The output (B, L, D) and the norm's inverse norms, (B, L, 1) or (B, D, 1) when transposed."""
        x = self.turned(x_BLD)
        y, inverse_norm = self.after_inner(x, self.inner(x, store), store)
        return self.turned(y), inverse_norm

    def after_inner(self, x: Tensor, before: Tensor, store: ActivationStore) -> tuple[Tensor, Tensor]:
        """The rest of ``forward``, once the inner layer's output ``before`` (B, L, O) is there; all of it turned."""
        y, inverse_norm = self.norm(x + self.outer(self.core(before), store))
        return y, inverse_norm

    def turned(self, x: Tensor) -> Tensor:
        """Turns (B, L, D) so that the dimension this sublayer works along is last, and back."""
        return x.transpose(1, 2) if self.transposed else x


class Attention(Sublayer):
    """Mixes positions by attention."""

    sites = ("qkv", "o")

    def __init__(self, config: ModelConfig, positions: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.inner = Linear(config.width, 3 * config.width, generator)
        self.core = SelfAttention(config.width, config.heads, positions, rope=config.positions == "rope")
        self.outer = Linear(config.width, config.width, generator)
        self.outer.input_is_held = True


class SwiGLU(Sublayer):
    """Mixes features by a gated MLP."""

    sites = ("gate_up", "down")

    def __init__(self, width: int, expansion: float, generator: torch.Generator | None) -> None:
        super().__init__()
        inner_width = swiglu_width(width, expansion)
        self.inner = Linear(width, 2 * inner_width, generator)
        self.core = GatedSiLU()
        self.outer = Linear(inner_width, width, generator)


class TokenMixer(SwiGLU):
    """Mixes positions by a gated MLP over them (TRM's MLP variant)."""

    transposed = True
    sites = ("mlp_t.gate_up", "mlp_t.down")


def swiglu_width(width: int, expansion: float) -> int:
    """Width between the two projections of a SwiGLU: two thirds of the expansion, rounded up to 256."""
    return 256 * math.ceil(round(expansion * width * 2 / 3) / 256)


class Block(nn.Module):
    """One of the network's layers: positions are mixed, then features."""

    def __init__(self, name: str, config: ModelConfig, positions: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.name = name
        self.mixer: Sublayer
        if config.block == "attention":
            self.mixer = Attention(config, positions, generator)
        else:
            self.mixer = TokenMixer(positions, config.expansion, generator)
        self.mlp = SwiGLU(config.width, config.expansion, generator)
        for sublayer in self.sublayers:
            sublayer.inner.site, sublayer.outer.site = (f"{name}.{site}" for site in sublayer.sites)

    @property
    def sublayers(self) -> tuple[Sublayer, Sublayer]:
        return self.mixer, self.mlp

    def forward(self, x_BLD: Tensor, store: ActivationStore) -> Tensor:
        for sublayer in self.sublayers:
            x_BLD, _ = sublayer(x_BLD, store)
        return x_BLD
