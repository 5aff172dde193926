"""Codes of variable length: nothing is lost in packing, nothing is biased, and they are near the limit, heavy tails or not."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from laser_core.stores.coding import rate_bound
from laser_core.stores.variable import MOST_UNARY, decode, encode, lengths


def decaying(rank, ratio):
    shares = ratio ** torch.arange(rank, dtype=torch.float64)
    return shares / shares.sum()


def normal(shares, shape, seed=0):
    return torch.randn(*shape, len(shares), generator=torch.Generator().manual_seed(seed)) * shares.sqrt().float()


def held_bits(held):
    return 8 * sum(tensor.nbytes for tensor in held)


@given(st.integers(1, 80), st.floats(0.7, 1.0), st.floats(1e-7, 0.3), st.integers(0, 2**31), st.floats(0, 4))
@settings(max_examples=60, deadline=None)
def test_what_is_decoded_is_half_a_step_away_at_most(rank, ratio, share, seed, spread):
    """Also where rows differ in size by orders of magnitude."""
    shares = decaying(rank, ratio)
    sizes = torch.randn(3, 5, 1, generator=torch.Generator().manual_seed(seed)).mul(spread / 2).exp()
    x = normal(shares, (3, 5), seed) * sizes
    plan = lengths(shares, share)
    held = encode(x, plan, seed)
    decoded, step = decode(held, 5, plan, seed), float(held[-1])
    lower = held[3].long()
    inside = x[..., : plan.coded].abs() < (MOST_UNARY << lower) * step / 2
    error = (decoded - x)[..., : plan.coded].abs()
    assert (error <= step / 2 * 1.001 + 1e-5 * x[..., : plan.coded].abs())[inside].all()
    assert inside.double().mean() > 0.9
    assert not decoded[..., plan.coded :].any()


def test_zeros_and_single_rows_survive():
    plan = lengths(decaying(7, 0.8), 1e-3)
    assert not decode(encode(torch.zeros(1, 1, 7), plan, 0), 1, plan, 0).abs().max() > 1e-30
    x = torch.full((1, 1, 7), 3.0)
    held = encode(x, plan, 0)
    assert (decode(held, 1, plan, 0) - x)[..., : plan.coded].abs().max() <= held[-1]


def test_codes_are_unbiased():
    shares = decaying(12, 0.8)
    plan, x = lengths(shares, 1e-2), normal(shares, (4, 9))
    decoded = [decode(encode(x, plan, seed), 9, plan, seed) for seed in range(400)]
    coded = slice(plan.coded)
    bias = (torch.stack(decoded).mean(0) - x)[..., coded].square().mean()
    assert bias <= 5 / 400 * (decoded[0] - x)[..., coded].square().mean()


@pytest.mark.parametrize("share", [1e-2, 1e-3, 1e-4])
def test_the_error_is_what_was_allowed(share):
    shares = decaying(60, 0.93)
    x, plan = normal(shares, (8, 81)), lengths(shares, share)
    lost = float((decode(encode(x, plan, 1), 81, plan, 1) - x).square().sum() / x.square().sum())
    assert 0.9 * share <= lost <= 1.1 * share
    assert plan.coded == len(shares) or float(shares[plan.coded :].sum()) < share


@pytest.mark.parametrize("has_tails", [False, True])
@pytest.mark.parametrize(("rank", "ratio", "share"), [(60, 0.93, 1e-3), (140, 0.96, 1e-3), (100, 0.97, 1e-3)])
def test_they_are_within_a_third_of_the_limit(rank, ratio, share, has_tails):
    """Rows of sizes that spread over octaves have kurtosis 6 and more, as activations do."""
    shares = decaying(rank, ratio)
    x = normal(shares, (8, 81))
    if has_tails:
        x = x * torch.randn(8, 81, 1, generator=torch.Generator().manual_seed(1)).mul(0.4).exp()
    plan = lengths(shares, share)
    held = encode(x, plan, 2)
    error = float((decode(held, 81, plan, 2) - x).square().sum()) / (8 * 81)
    variances = x.flatten(0, 1).square().mean(0)
    assert held_bits(held) / (8 * 81) <= 1.3 * rate_bound(variances, error)
