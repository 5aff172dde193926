"""Transform coding of activations: coordinates in a tracked basis, quantised and packed into whole numbers.

Every direction gets as many bits as its variance earns (reverse water-filling): the allocation is the cheapest one whose
expected distortion stays within what is allowed, so all directions end on nearly one step size. A dither that both sides
can draw is added before rounding and subtracted after it: codes are unbiased, as with stochastic rounding, at half of its
noise (Δ²/12 instead of Δ²/6).

Shapes: B batch, L positions, N = B · L rows, K directions, W words of 24 bits per row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    Packed = tuple[Tensor, Tensor]  # of every word (W, N) the lower 16 bits (int16) and the upper 8 (uint8)

WORD_BITS = 24  # the widest whole numbers that float32 holds exactly

# The uniform dithered quantiser of a unit normal variable with 2^b levels, b = 0 … 12: the step with the least mean square
# error, and that error, by numerical integration (tests/core/test_coding.py does it again).
STEPS = (1.0, 1.5316, 1.0121, 0.5912, 0.3363, 0.1884, 0.1041, 0.0569, 0.0308, 0.0165, 0.0088, 0.0046, 0.0024)
ERRORS = (
    1.0, 0.44379, 0.12897, 0.038520, 0.011651, 3.5055e-3, 1.0410e-3, 3.0441e-4, 8.7693e-5, 2.4920e-5, 6.9970e-6, 1.9444e-6,
    5.3554e-7,
)  # fmt: skip
MOST_BITS = len(STEPS) - 1
_ERRORS = torch.tensor(ERRORS, dtype=torch.float64)


# --- how many bits -----------------------------------------------------------------------------------------------------


def widths_at(price: float, variances: Float[Tensor, "K"]) -> Int[Tensor, "K"]:
    """Bits of each direction where a bit must lower the expected squared error by its price."""
    return (_gains(variances) >= price).sum(1)


def expected_error(variances: Float[Tensor, "K"], widths: Int[Tensor, "K"]) -> float:
    """Squared error of normal variables, summed over directions."""
    return float((variances.double().cpu() * _ERRORS[widths]).sum())


def allocate(variances: Float[Tensor, "K"], distortion: float) -> Int[Tensor, "K"]:
    """The fewest bits in all, at least 1 per direction, whose expected squared error stays within ``distortion``; the
    most there are (12 per direction) where none does.

    Bits are worth less and less, so those that lower the error most, over all directions, are the best choice.
    """
    gains = _gains(variances)[:, 1:]
    falling, order = gains.flatten().sort(descending=True, stable=True)
    excess = expected_error(variances, torch.ones(len(gains), dtype=torch.int64)) - distortion
    count = int((falling.cumsum(0) < excess).sum()) + 1 if excess > 0 else 0
    return 1 + torch.bincount(order[:count] // gains.shape[1], minlength=len(gains))


def _gains(variances: Tensor) -> Tensor:
    """By how much each next bit lowers the error (K, bits)."""
    return variances.double().cpu()[:, None] * (_ERRORS[:-1] - _ERRORS[1:])


def rate_bound(variances: Float[Tensor, "K"], distortion: float) -> float:
    """Bits per row that no code of independent normal directions can do without: R = Σ max(0, ½ log₂(λ/θ)) at the water
    level θ where Σ min(λ, θ) is ``distortion`` (Cover & Thomas, Elements of Information Theory, 10.3.3)."""
    variances = variances.double()
    level = water_level(variances, distortion)
    return float((variances / max(level, 1e-300)).log2().clamp_min(0).sum()) / 2


def water_level(variances: Float[Tensor, "K"], distortion: float, worth: float = 1.0) -> float:
    """The highest θ at which no more than ``distortion`` is lost: all of a λ up to ``worth`` · θ, θ of any other; so
    Σ min(λ, θ) = ``distortion`` by default. The largest variance where that is more than all."""
    low, high = 0.0, float(variances.max())
    for _ in range(100):
        level = (low + high) / 2
        lost = variances.where(variances <= worth * level, level).sum()
        low, high = (level, high) if lost <= distortion else (low, level)
    return low


# --- where they go -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """Where each direction's bits stand in a row of words; all tensors on the device of the activations."""

    widths_K: Tensor  # bits of each direction
    steps_K: Tensor  # quantiser's step for unit variance
    middle_K: Tensor  # (2^b - 1) / 2, in steps
    inside_K: Tensor  # how many steps from the middle nothing is clipped, whatever the dither
    place_KW: Tensor  # one 2^shift per direction: codes · place = words
    word_K: Tensor  # the word of each direction,
    shift_K: Tensor  # its lowest bit there,
    mask_K: Tensor  # and 2^b - 1,
    most_K: Tensor  # which is the highest level, in float32

    @property
    def bytes_per_row(self) -> int:
        return self.place_KW.shape[1] * WORD_BITS // 8


def layout(variances: Float[Tensor, "K"], distortion: float) -> Layout:
    """Allocates bits and places them. Bits that packing leaves free make some directions finer; therefore a little more
    distortion is allowed at first than in the end."""
    of = variances.tolist()
    for allowance in (1.3, 1.2, 1.1, 1.05, 1.0):
        widths: list[int] = allocate(variances, distortion * allowance).tolist()
        words = _placed(widths)
        for word in words:
            _widen(widths, of, word)
        if expected_error(variances, torch.tensor(widths)) <= distortion:
            break
    return _layout(widths, words, variances.device)


def _placed(widths: list[int]) -> list[list[int]]:
    """The directions in each word: first fit, widest first."""
    words: list[list[int]] = []
    free: list[int] = []
    for index in sorted(range(len(widths)), key=lambda i: -widths[i]):
        number = next((n for n, bits in enumerate(free) if bits >= widths[index]), len(words))
        if number == len(words):
            words.append([])
            free.append(WORD_BITS)
        words[number].append(index)
        free[number] -= widths[index]
    return words


def _widen(widths: list[int], variances: list[float], word: list[int]) -> None:
    for _ in range(WORD_BITS - sum(widths[i] for i in word)):
        best = max(word, key=lambda i: variances[i] * _gain(widths[i]))
        widths[best] = min(widths[best] + 1, MOST_BITS)


def _gain(width: int) -> float:
    return ERRORS[width] - ERRORS[width + 1] if width < MOST_BITS else 0.0


def _layout(widths: list[int], words: list[list[int]], device: torch.device) -> Layout:
    place_KW = torch.zeros(len(widths), len(words))
    word_K, shift_K = torch.zeros(len(widths), dtype=torch.int64), torch.zeros(len(widths), dtype=torch.int32)
    for number, word in enumerate(words):
        shift = 0
        for index in word:
            place_KW[index, number] = float(1 << shift)
            word_K[index], shift_K[index] = number, shift
            shift += widths[index]
    widths_K = torch.tensor(widths)
    mask_K = (1 << widths_K.int()) - 1
    middle_K = mask_K / 2
    inside_K = (middle_K - 0.5).clamp_min(0.5)
    tensors = (
        widths_K,
        torch.tensor(STEPS)[widths_K],
        middle_K,
        inside_K,
        place_KW,
        word_K,
        shift_K,
        mask_K,
        mask_K.float(),
    )
    return Layout(*(tensor.to(device) for tensor in tensors))


# --- codes -------------------------------------------------------------------------------------------------------------


def encode(coordinates: Float[Tensor, "B L K"], layout: Layout, seed: int) -> tuple[Packed, Float[Tensor, "K"]]:
    """Packed codes, and the step of each direction.

    A step that is best for normal variables clips too much of activations, whose tails are heavier, and clipping is a bias;
    one that clips nothing is too coarse. The geometric mean of the two lost least of what was tried (docs/experiments.md).
    """
    scratch = (
        coordinates.square()
    )  # one buffer for squares, magnitudes and levels: allocating takes longer than computing
    deviation_K = scratch.mean((0, 1)).sqrt_()
    widest_K = torch.abs(coordinates, out=scratch).amax((0, 1)) / layout.inside_K
    step_K = (deviation_K * layout.steps_K * widest_K).sqrt_().clamp_min_(torch.finfo(torch.float32).tiny)
    levels = torch.addcmul(_offset(layout, coordinates.shape[1], seed), coordinates, 1 / step_K, out=scratch).round_()
    levels.clamp_min_(0)
    torch.minimum(levels, layout.most_K, out=levels)
    words = (layout.place_KW.T @ levels.flatten(0, 1).T).int()
    return (words.to(torch.int16), (words >> 16).to(torch.uint8)), step_K


def decode(
    packed: Packed, step_K: Float[Tensor, "K"], positions: int, layout: Layout, seed: int
) -> Float[Tensor, "B L K"]:
    """The coordinates of rows of so many positions, but for an error of about Δ²/12 in each direction. A view of (K, B, L):
    copying a row of words for each direction is faster than picking one word for each from every row."""
    lower, upper = packed
    words = (lower.int() & 0xFFFF) | (upper.int() << 16)
    levels_KN = words.index_select(0, layout.word_K)
    levels_KN.bitwise_right_shift_(layout.shift_K[:, None]).bitwise_and_(layout.mask_K[:, None])
    levels_KBL = levels_KN.view(len(step_K), -1, positions)
    offset_KL = _offset(layout, positions, seed).T.contiguous()
    return (levels_KBL - offset_KL[:, None]).mul_(step_K[:, None, None]).permute(1, 2, 0)


def _offset(layout: Layout, positions: int, seed: int) -> Float[Tensor, "L K"]:
    """Dither plus the middle level."""
    return dither(positions, len(layout.middle_K), seed, layout.middle_K.device).add_(layout.middle_K)


def dither(positions: int, directions: int, seed: int, device: torch.device) -> Float[Tensor, "L K"]:
    """Uniform in ±½. The rows of a batch share it: their errors differ as their activations do. Sums of two uniform numbers
    modulo 1 are uniform, and independent in pairs, at a fraction of as many draws."""
    generator = torch.Generator(device).manual_seed(seed)
    drawn = torch.rand(positions + directions, generator=generator, device=device)
    return (drawn[:positions, None] + drawn[positions:]).frac_().sub_(0.5)
