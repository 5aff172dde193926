"""The fused block with groupwise quantised activations and no basis: the control for coding in an eigenbasis.

Every group of G numbers has a scale and an offset (its least number) in half precision; rounding is stochastic.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from laser_core.stores.fused import Fused, Packed
from laser_core.stores.tracked import Code


class Quant(Fused):
    """Store ``quant``."""

    def __init__(self, bits: Literal[4, 8], group: int, seed: int) -> None:
        super().__init__()
        self.bits, self.group = bits, group
        self._seed, self._step, self._packs = seed, 0, 0

    def begin_step(self, step: int) -> None:
        self._step = step

    def begin_forward(self) -> None:
        super().begin_forward()
        self._packs = 0

    def projected(self, site: str, x_BLD: Tensor) -> Tensor:
        return x_BLD

    def pack(self, site: str, projected_BLK: Tensor) -> Packed:
        self._packs += 1
        generator = torch.Generator(projected_BLK.device)
        generator.manual_seed((self._seed * 1_000_003 + self._step) * 4096 + self._packs)
        codes, scale, least = quantised(projected_BLK, self.bits, self.group, generator)
        held = (self.keep(codes, site, "code"), self.keep(scale, site, "scale"), self.keep(least, site, "scale"))
        return Packed(held, partial(_read, self.bits, projected_BLK.shape, projected_BLK.dtype))


def quantised(x: Tensor, bits: int, group: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Codes (uint8, two to a byte with 4 bits), and the scale and offset (bfloat16) of every group along ``x`` flattened."""
    groups = _grouped(x.float(), group)
    least = groups.amin(-1, keepdim=True).bfloat16()
    span = groups.amax(-1, keepdim=True) - least.float()
    scale = (span / (2**bits - 1)).clamp_min(1e-20).bfloat16()
    dither = torch.rand(groups.shape, generator=generator, device=x.device)
    levels = ((groups - least.float()) / scale.float() + dither).floor_().clamp_(0, 2**bits - 1).to(torch.uint8)
    if bits == 4:
        levels = levels[:, ::2] | levels[:, 1::2] << 4
    return levels, scale, least


def _read(bits: int, shape: torch.Size, dtype: torch.dtype, codes: Tensor, scale: Tensor, least: Tensor) -> Code:
    if bits == 4:
        codes = torch.stack((codes & 15, codes >> 4), dim=-1).flatten(1)
    numbers = torch.addcmul(least.float(), codes.float(), scale.float()).flatten()
    return Code(numbers[: shape.numel()].view(shape).to(dtype), None)


def _grouped(x: Tensor, group: int) -> Tensor:
    """(groups, G) of the numbers in order; the last group is filled up with the last number."""
    flat = x.flatten()
    missing = -len(flat) % group
    return F.pad(flat[None], (0, missing), mode="replicate")[0].view(-1, group) if missing else flat.view(-1, group)
