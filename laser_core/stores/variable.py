"""Codes of variable length: one step for all directions of a site, and short codes for small levels.

The step is the one whose error, Δ²/12 in every direction that is coded, is the water level of reverse water-filling; directions
below the level are left out. Levels go into Golomb–Rice codes: a level's lower bits as they are, what is above them in unary.
Nothing is clipped, however heavy the tails, and frequent levels take fewer bits than rare ones: some 1.2 of the
rate–distortion bound, where codes of fixed length take 1.6 (docs/results). The price is time: rows start at any bit, and the
codes of a row are read one after the other. On a GPU the number of bits must be waited for.

Shapes: B batch, L positions, N = B · L rows, K directions, A of them coded, W words of 32 bits in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from laser_core.stores.coding import dither, water_level

if TYPE_CHECKING:
    from jaxtyping import Float, Int

WORD_BITS, WORD = 32, 2**32 - 1
MOST_UNARY, MOST_LOWER = 18, 12  # with the bit between them a word's worth, less one
MOST_LEVEL = ((MOST_UNARY + 1 << MOST_LOWER) - 4) // 2  # of either sign; the step is no smaller than this allows
LENGTH_UNITS = 255  # a row's length is held in one byte
READ_ROWS = 4096  # at once: reading takes some 20 bytes for every bit of theirs


@dataclass(frozen=True)
class Plan:
    """What a site's codes need to know: how many directions are coded, of how many; the water level as a share of the energy
    of all of them; and bits per row, as expected of normal variables."""

    coded: int
    directions: int
    level: float
    bits: float


def plan(shares_K: Float[Tensor, "K"], distortion: float) -> Plan:
    """For directions by falling share of the energy, of which codes may lose ``distortion``; at least one is coded."""
    shares_K = shares_K.double().cpu()
    level = water_level(shares_K, distortion)
    coded = max(1, int((shares_K > level).sum()))
    # The entropy of a uniformly quantised normal variable, ½ log₂ (2πe σ² / Δ²), and a quarter of a bit; never below one.
    bits_A = ((shares_K[:coded] / max(12 * level, 1e-300)).log2() / 2 + 2.3).clamp(1, MOST_UNARY + MOST_LOWER)
    return Plan(coded, len(shares_K), level / (float(shares_K.sum()) or 1.0), float(bits_A.sum()) + 8)


def encode(coordinates: Float[Tensor, "B L K"], plan: Plan, seed: int) -> tuple[Tensor, ...]:
    """Words (W, int32), each row's length in units (N, uint8), bits of a unit (int16), lower bits of each direction's codes
    (A, uint8), and the step; which, like all that is decoded, is NaN where a coordinate is, or infinite.

    The words are one number of W · 32 bits: rows stand in it from its highest bits down, and the codes of a row too.
    """
    rows_NK = coordinates.flatten(0, 1)
    step = (12 * plan.level * rows_NK.square().sum(1).mean()).sqrt_()
    step = step.maximum(rows_NK[:, : plan.coded].abs().amax() / MOST_LEVEL)
    step = step.clamp_min_(torch.finfo(torch.float32).tiny)
    shift = dither(coordinates.shape[1], plan.coded, seed, coordinates.device)
    levels_NA = (coordinates[..., : plan.coded] / step + shift).round_().nan_to_num_(0).flatten(0, 1).int()
    codes_NA = (levels_NA << 1) ^ (levels_NA >> WORD_BITS - 1)  # 0, -1, 1, -2 … as 0, 1, 2, 3 …
    lower_A = _lower(codes_NA)
    unary_NA = codes_NA >> lower_A
    values_NA = (((2 << unary_NA) - 2) << lower_A) | (codes_NA & ((1 << lower_A) - 1))
    ends_NA = (unary_NA + (lower_A + 1)).cumsum(1, dtype=torch.int32)
    unit = (ends_NA[:, -1].amax() + LENGTH_UNITS - 1) // LENGTH_UNITS
    units_N = (ends_NA[:, -1] + unit - 1) // unit
    ends_N = units_N.cumsum(0, dtype=torch.int32) * unit
    bits = int(ends_N[-1])
    words = _packed(values_NA, ends_NA.neg_().add_((bits - ends_N + units_N * unit)[:, None]), bits)
    return words, units_N.to(torch.uint8), unit.to(torch.int16), lower_A.to(torch.uint8), step


def _lower(codes: Int[Tensor, "N A"]) -> Int[Tensor, "A"]:
    """The lower bits that make codes shortest for a mean like theirs, and no unary part longer than the longest."""
    best_A = codes.float().mean(0).mul_(0.6931).clamp_min_(1).log2_().round_()  # ln 2
    least_A = ((codes.amax(0) + 1) / (MOST_UNARY + 1)).clamp_min_(1).log2_().ceil_()
    return best_A.maximum(least_A).int()


def _packed(values: Int[Tensor, "N A"], places: Int[Tensor, "N A"], bits: int) -> Int[Tensor, "W"]:
    """Their sum, each times 2^place. The highest word is zero."""
    words = torch.zeros(-(-bits // WORD_BITS) + 1, dtype=torch.int64, device=values.device)
    placed, index = (values.long() << (places & WORD_BITS - 1)).flatten(), (places >> 5).flatten()
    words.index_add_(0, index, placed & WORD)
    words[1:].index_add_(0, index, placed >> WORD_BITS)
    return words.to(torch.int32)


def decode(held: tuple[Tensor, ...], positions: int, plan: Plan, seed: int) -> Float[Tensor, "B L K"]:
    """The coordinates, but for an error of Δ²/12 in each direction that is coded; the others are zero."""
    words, units_N, unit, lower_A, step = held
    bits_N, lower_A, below, parts = units_N.int() * unit, lower_A.int(), 0, []
    for some_N in reversed(torch.split(bits_N, READ_ROWS)):  # the last rows are the lowest
        bits = int(some_N.sum())
        parts.append(_unpacked(words[below >> 5 : (below + bits >> 5) + 2], some_N, below & WORD_BITS - 1, lower_A))
        below += bits
    codes_NA = torch.cat(parts[::-1])
    levels_NA = (codes_NA >> 1) ^ -(codes_NA & 1)
    coordinates = torch.zeros(len(units_N) // positions, positions, plan.directions, device=words.device)
    shift = dither(positions, plan.coded, seed, words.device)
    torch.sub(levels_NA.view(-1, positions, plan.coded), shift, out=(coded := coordinates[..., : plan.coded]))
    coded.mul_(step)
    return coordinates


def _unpacked(words: Int[Tensor, "W"], bits_N: Tensor, below: int, lower_A: Tensor) -> Int[Tensor, "N A"]:
    """Rows that stand above the lowest ``below`` bits: all at once, one code after the other; only where the unary part of
    each ends needs those before it."""
    zeros = _zeros(words)
    first_N = bits_N.flip(0).cumsum(0, dtype=torch.int32).flip(0) + (below - 1)
    begun, ended = [], []
    for used in (lower_A + 1).unbind():
        begun.append(first_N)
        ended.append(zeros.index_select(0, first_N))
        first_N = ended[-1] - used
    ended_NA = torch.stack(ended, 1)
    unary_NA = torch.stack(begun, 1) - ended_NA
    lowest = words.long() & WORD
    pairs = lowest[:-1] | lowest[1:] << WORD_BITS
    places_NA = ended_NA - lower_A
    ahead_NA = (pairs[places_NA >> 5] >> (places_NA & WORD_BITS - 1)).int()
    return (unary_NA << lower_A) | ahead_NA & ((1 << lower_A) - 1)


def _zeros(words: Int[Tensor, "W"]) -> Int[Tensor, "bits"]:
    """For every bit, the place of the next zero at or below it."""
    bits = ((words[:, None] >> torch.arange(WORD_BITS, dtype=torch.int32, device=words.device)) & 1).flatten()
    places = torch.arange(len(bits), dtype=torch.int32, device=words.device)
    return places.sub_(bits, alpha=len(bits)).cummax(0).values
