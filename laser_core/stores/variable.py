"""Codes of variable length: one step for all directions of a site, and short codes for small levels.

The step is the one whose error, Δ²/12 in every direction that is coded, is the water level of reverse water-filling; directions
that hold too little for a code of their own are left out. Levels go into Golomb–Rice codes: a level's lower bits as they are,
what is above them in unary. Nothing is clipped, however heavy the tails, and frequent levels take fewer bits than rare ones:
1.1 to 1.6 of the rate–distortion bound, where codes of fixed length take 1.2 to 2.3 at ε = .999 or more (docs/results). The
price is time: runs of rows start at any bit, and the codes of a run are read one after the other. On a GPU the number of bits
must be waited for.

Shapes: B batch, L positions, N = B · L rows, K directions, A of them coded, R runs of rows, C codes of each, W 32-bit words.
"""

from __future__ import annotations

import math
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
LENGTH_UNITS = 255  # a run's length is held in one byte
RUN = 2  # rows, where that divides N: fewer lengths to hold, more codes to read one after the other
READ_RUNS = 2048  # at once: reading takes some 20 bytes for every bit of theirs
# A direction is coded where it holds more than so many times what its code would lose. A bit takes 2 ln 2 water levels of error
# off the other directions, and a code of so weak a direction takes 1.1 to 1.4 bits, so from there on it is worth them.
WORTH = 2.5


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
    level = water_level(shares_K, distortion, WORTH)
    coded = max(1, int((shares_K > WORTH * level).sum()))
    # The entropy of a uniformly quantised normal variable, ½ log₂ (2πe σ² / Δ²), and a quarter of a bit; never below one.
    bits_A = ((shares_K[:coded] / max(12 * level, 1e-300)).log2() / 2 + 2.3).clamp(1, MOST_UNARY + MOST_LOWER)
    return Plan(coded, len(shares_K), level / (float(shares_K.sum()) or 1.0), float(bits_A.sum()) + 8 / RUN)


def encode(coordinates: Float[Tensor, "B L K"], plan: Plan, seed: int) -> tuple[Tensor, ...]:
    """Words (W, int32), each run's length in units (R, uint8), bits of a unit and rows of a run (2, int16), lower bits of each
    direction's codes (A, uint8), and the step; which, like all that is decoded, is NaN where a coordinate is, or infinite.

    The words are one number of W · 32 bits: runs stand in it from its highest bits down, and the codes of a run too.
    """
    rows_NK = coordinates.flatten(0, 1)
    run = math.gcd(len(rows_NK), RUN)
    step = (12 * plan.level * rows_NK.square().sum(1).mean()).sqrt_()
    step = step.maximum(rows_NK[:, : plan.coded].abs().amax() / MOST_LEVEL)
    step = step.clamp_min_(torch.finfo(torch.float32).tiny)
    shift = dither(coordinates.shape[1], plan.coded, seed, coordinates.device)
    levels_NA = (coordinates[..., : plan.coded] / step + shift).round_().nan_to_num_(0).flatten(0, 1).int()
    codes_NA = (levels_NA << 1) ^ (levels_NA >> WORD_BITS - 1)  # 0, -1, 1, -2 … as 0, 1, 2, 3 …
    lower_A = _lower(codes_NA)
    unary_NA = codes_NA >> lower_A
    values_NA = (((2 << unary_NA) - 2) << lower_A) | (codes_NA & ((1 << lower_A) - 1))
    ends_RC = (unary_NA + (lower_A + 1)).view(-1, run * plan.coded).cumsum(1, dtype=torch.int32)
    unit = (ends_RC[:, -1].amax() + LENGTH_UNITS - 1) // LENGTH_UNITS
    units_R = (ends_RC[:, -1] + unit - 1) // unit
    ends_R = units_R.cumsum(0, dtype=torch.int32) * unit
    bits = int(ends_R[-1])
    words = _packed(values_NA, ends_RC.neg_().add_((bits - ends_R + units_R * unit)[:, None]), bits)
    sizes = torch.stack((unit, torch.full_like(unit, run))).to(torch.int16)
    return words, units_R.to(torch.uint8), sizes, lower_A.to(torch.uint8), step


def _lower(codes: Int[Tensor, "N A"]) -> Int[Tensor, "A"]:
    """The lower bits that make codes shortest for a mean like theirs, and no unary part longer than the longest."""
    best_A = codes.float().mean(0).mul_(0.6931).clamp_min_(1).log2_().round_()  # ln 2
    least_A = ((codes.amax(0) + 1) / (MOST_UNARY + 1)).clamp_min_(1).log2_().ceil_()
    return best_A.maximum(least_A).int()


def _packed(values: Int[Tensor, "N A"], places: Int[Tensor, "R C"], bits: int) -> Int[Tensor, "W"]:
    """Their sum, each times 2^place. The highest word is zero."""
    words = torch.zeros(-(-bits // WORD_BITS) + 1, dtype=torch.int64, device=values.device)
    places = places.flatten()
    placed, index = values.long().flatten() << (places & WORD_BITS - 1), places >> 5
    words.index_add_(0, index, placed & WORD)
    words[1:].index_add_(0, index, placed >> WORD_BITS)
    return words.to(torch.int32)


def decode(held: tuple[Tensor, ...], positions: int, plan: Plan, seed: int) -> Float[Tensor, "B L K"]:
    """The coordinates, but for an error of Δ²/12 in each direction that is coded; the others are zero."""
    words, units_R, sizes, lower_A, step = held
    unit, run = sizes.tolist()
    bits_R, lower_C, below, parts = units_R.int() * unit, lower_A.int().repeat(run), 0, []
    for some_R in reversed(torch.split(bits_R, READ_RUNS)):  # the last runs are the lowest
        bits = int(some_R.sum())
        parts.append(_unpacked(words[below >> 5 : (below + bits >> 5) + 2], some_R, below & WORD_BITS - 1, lower_C))
        below += bits
    codes_RC = torch.cat(parts[::-1])
    levels_RC = (codes_RC >> 1) ^ -(codes_RC & 1)
    levels_BLA = levels_RC.view(-1, positions, plan.coded)
    coordinates = torch.zeros(len(levels_BLA), positions, plan.directions, device=words.device)
    shift = dither(positions, plan.coded, seed, words.device)
    torch.sub(levels_BLA, shift, out=(coded := coordinates[..., : plan.coded]))
    coded.mul_(step)
    return coordinates


def _unpacked(words: Int[Tensor, "W"], bits_R: Tensor, below: int, lower_C: Tensor) -> Int[Tensor, "R C"]:
    """Runs that stand above the lowest ``below`` bits: all at once, one code after the other; only where the unary part of
    each ends needs those before it."""
    zeros = _zeros(words)
    first_R = bits_R.flip(0).cumsum(0, dtype=torch.int32).flip(0) + (below - 1)
    begun, ended = [], []
    for used in (lower_C + 1).unbind():
        begun.append(first_R)
        ended.append(zeros.index_select(0, first_R))
        first_R = ended[-1] - used
    ended_RC = torch.stack(ended, 1)
    unary_RC = torch.stack(begun, 1) - ended_RC
    lowest = words.long() & WORD
    pairs = lowest[:-1] | lowest[1:] << WORD_BITS
    places_RC = ended_RC - lower_C
    ahead_RC = (pairs[places_RC >> 5] >> (places_RC & WORD_BITS - 1)).int()
    return (unary_RC << lower_C) | ahead_RC & ((1 << lower_C) - 1)


def _zeros(words: Int[Tensor, "W"]) -> Int[Tensor, "bits"]:
    """For every bit, the place of the next zero at or below it."""
    bits = ((words[:, None] >> torch.arange(WORD_BITS, dtype=torch.int32, device=words.device)) & 1).flatten()
    places = torch.arange(len(bits), dtype=torch.int32, device=words.device)
    return places.sub_(bits, alpha=len(bits)).cummax(0).values
