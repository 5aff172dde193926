"""Transform coding: tables by integration, bits by reverse water-filling, packing without loss, no bias."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from laser_core.stores.coding import (
    ERRORS,
    MOST_BITS,
    STEPS,
    WORD_BITS,
    allocate,
    decode,
    encode,
    expected_error,
    layout,
    rate_bound,
)  # fmt: skip


def decaying(rank: int, ratio: float) -> torch.Tensor:
    return 100 * ratio ** torch.arange(rank, dtype=torch.float64)


def integrated_error(bits: int, step: float) -> float:
    """Mean square error of the dithered quantiser of 2^bits levels for a unit normal variable."""
    x = torch.linspace(-7, 7, 4001, dtype=torch.float64)
    density = torch.exp(-x.square() / 2)
    top, error = 2**bits - 1, torch.zeros_like(x)
    dithers = (torch.arange(32, dtype=torch.float64) + 0.5) / 32 - 0.5
    for dither in dithers:
        level = (x / step + dither + top / 2).round().clamp(0, top)
        error += ((level - top / 2 - dither) * step - x).square()
    return float((density * error).sum() / density.sum() / len(dithers))


@pytest.mark.parametrize("bits", range(1, MOST_BITS + 1))
def test_steps_and_errors_are_those_of_the_best_quantiser(bits):
    best = integrated_error(bits, STEPS[bits])
    assert best == pytest.approx(ERRORS[bits], rel=0.02)
    for factor in (0.94, 1.06):
        assert integrated_error(bits, factor * STEPS[bits]) >= best * 0.999


@given(st.integers(2, 60), st.floats(0.6, 0.999), st.floats(1e-5, 0.1))
@settings(max_examples=40, deadline=None)
def test_allocation_meets_the_distortion_and_gives_the_most_bits_to_the_largest(rank, ratio, share):
    variances = decaying(rank, ratio)
    allowed = share * float(variances.sum())
    widths = allocate(variances, allowed)
    assert expected_error(variances, widths) <= allowed
    assert widths.tolist() == sorted(widths.tolist(), reverse=True)
    assert widths.min() >= 1


def test_allocation_is_within_a_third_of_the_limit():
    for rank, ratio, share in ((60, 0.93, 1e-3), (140, 0.96, 1e-3), (140, 0.96, 1e-4), (100, 0.97, 1e-3)):
        variances = decaying(rank, ratio)
        plan = layout(variances, share * float(variances.sum()))
        error = expected_error(variances, plan.widths_K)
        assert error <= share * float(variances.sum())
        assert plan.bytes_per_row * 8 <= 1.3 * rate_bound(variances, error)


def test_the_bound_is_that_of_one_normal_variable_and_falls_to_none():
    one = torch.tensor([4.0])
    assert rate_bound(one, 1.0) == pytest.approx(math.log2(4) / 2, abs=1e-6)
    assert rate_bound(one, 4.0) == pytest.approx(0.0, abs=1e-6)


@given(st.integers(1, 80), st.floats(0.7, 1.0), st.floats(1e-6, 0.2), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_every_level_survives_packing(rank, ratio, share, seed):
    """Decoding what was encoded, and encoding it again with the same dither, gives the same bytes."""
    variances = decaying(rank, ratio)
    plan = layout(variances, share * float(variances.sum()))
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 5, rank, generator=generator) * variances.sqrt().float()
    packed, step_K = encode(x, plan, seed)
    assert sum(part.nbytes for part in packed) == 2 * 5 * plan.bytes_per_row
    assert int(plan.widths_K.sum()) <= plan.place_KW.shape[1] * WORD_BITS
    inside = (plan.middle_K * step_K * 0.98) > x.abs()  # not clipped, whatever the dither
    error = (decode(packed, step_K, x.shape[1], plan, seed) - x).abs()
    assert (error <= step_K / 2 * 1.01 + 1e-6 * x.abs())[inside & (plan.widths_K > 1)].all()


def test_codes_are_unbiased_where_nothing_is_clipped():
    variances = decaying(12, 0.8)
    plan = layout(variances, 1e-2 * float(variances.sum()))
    x = (torch.rand(4, 9, 12) - 0.5) * variances.sqrt().float()
    seeds = range(400)
    decoded = [decode(*encode(x, plan, seed), x.shape[1], plan, seed) for seed in seeds]
    mean_error = (torch.stack(decoded).mean(0) - x).square().mean(dim=(0, 1))
    one_error = (decoded[0] - x).square().mean(dim=(0, 1))
    assert (mean_error[plan.widths_K > 1] <= 10 / len(seeds) * one_error[plan.widths_K > 1]).all()


def test_distortion_on_normal_variables_is_the_expected_one():
    variances = decaying(40, 0.9)
    plan = layout(variances, 1e-3 * float(variances.sum()))
    x = torch.randn(64, 30, 40, generator=torch.Generator().manual_seed(0)) * variances.sqrt().float()
    error = float((decode(*encode(x, plan, 3), x.shape[1], plan, 3) - x).square().mean((0, 1)).sum())
    assert expected_error(variances, plan.widths_K) * 0.9 <= error <= 1.6 * expected_error(variances, plan.widths_K)
