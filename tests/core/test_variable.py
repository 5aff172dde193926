"""Codes of variable length: nothing is lost in packing, nothing is biased, and they are near the limit, heavy tails or not."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from laser_core.stores import variable
from laser_core.stores.coding import allocate, rate_bound, water_level
from laser_core.stores.variable import decode, encode, plan


def decaying(rank, ratio):
    shares = ratio ** torch.arange(rank, dtype=torch.float64)
    return shares / shares.sum()


def normal(shares, shape, seed=0):
    return torch.randn(*shape, len(shares), generator=torch.Generator().manual_seed(seed)) * shares.sqrt().float()


def held_bits(held):
    return 8 * sum(tensor.nbytes for tensor in held)


def largest_error(x, made, seed=0):
    """In steps, over the directions that are coded; the others must be zero."""
    held = encode(x, made, seed)
    decoded = decode(held, x.shape[1], made, seed)
    assert not decoded[..., made.coded :].any()
    error = (decoded - x)[..., : made.coded].abs() - 1e-5 * x[..., : made.coded].abs()
    return float(error.max() / held[-1])


@given(st.integers(1, 80), st.floats(0.7, 1.0), st.floats(1e-9, 0.7), st.integers(0, 2**31), st.floats(0, 4))
@settings(max_examples=80, deadline=None)
def test_what_is_decoded_is_half_a_step_away_at_most(rank, ratio, share, seed, spread):
    """Also where rows differ in size by orders of magnitude."""
    shares = decaying(rank, ratio)
    sizes = torch.randn(3, 5, 1, generator=torch.Generator().manual_seed(seed)).mul(spread / 2).exp()
    x = normal(shares, (3, 5), seed) * sizes
    assert largest_error(x, plan(shares, share), seed) <= 0.501


def test_nothing_is_clipped():
    """A value far from all others of its direction; a direction that one position has for itself; the least steps."""
    shares = decaying(4, 1.0)
    for outlier in (5.0, -30.0, 1e4):
        x = normal(shares, (2, 9))
        x[0, 3, 1] = outlier
        assert largest_error(x, plan(shares, 0.6)) <= 0.501
    x = normal(decaying(6, 0.7), (4, 81)) * 0.02
    x[:, 0, 0] = 1.0
    for share in (1e-2, 1e-4, 1e-8, 0.0):
        assert largest_error(x, plan(decaying(6, 0.7), share)) <= 0.501


def test_rows_are_read_in_parts(monkeypatch):
    shares = decaying(20, 0.8)
    x, made = normal(shares, (5, 11)), plan(shares, 1e-3)
    held = encode(x, made, 4)
    whole = decode(held, 11, made, 4)
    for runs in (1, 7, 54):
        monkeypatch.setattr(variable, "READ_RUNS", runs)
        assert torch.equal(decode(held, 11, made, 4), whole)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_does_not_come_back_as_a_number(bad):
    shares = decaying(5, 0.8)
    x, made = normal(shares, (2, 3)), plan(shares, 1e-3)
    x[1, 2, 3] = bad
    assert not decode(encode(x, made, 0), 3, made, 0).isfinite().any()


def test_zeros_and_single_rows_survive():
    made = plan(decaying(7, 0.8), 1e-3)
    assert not decode(encode(torch.zeros(1, 1, 7), made, 0), 1, made, 0).abs().max() > 1e-30
    assert largest_error(torch.full((1, 1, 7), 3.0), made) <= 0.501
    assert plan(torch.zeros(3), 1e-4).coded == 1


def test_codes_are_unbiased():
    shares = decaying(12, 0.8)
    made, x = plan(shares, 1e-2), normal(shares, (4, 9))
    decoded = [decode(encode(x, made, seed), 9, made, seed) for seed in range(400)]
    coded = slice(made.coded)
    bias = (torch.stack(decoded).mean(0) - x)[..., coded].square().mean()
    assert bias <= 5 / 400 * (decoded[0] - x)[..., coded].square().mean()


@pytest.mark.parametrize("share", [1e-2, 1e-3, 1e-4])
def test_the_error_is_what_was_allowed(share):
    shares = decaying(60, 0.93)
    x, made = normal(shares, (8, 81)), plan(shares, share)
    lost = float((decode(encode(x, made, 1), 81, made, 1) - x).square().sum() / x.square().sum())
    assert 0.9 * share <= lost <= 1.1 * share
    assert made.coded == len(shares) or float(shares[made.coded :].sum()) < share


@pytest.mark.parametrize("has_tails", [False, True])
@pytest.mark.parametrize(("rank", "ratio", "share"), [(60, 0.93, 1e-3), (140, 0.96, 1e-3), (100, 0.97, 1e-3)])
def test_they_are_within_a_third_of_the_limit(rank, ratio, share, has_tails):
    """Rows of sizes that spread over octaves have kurtosis 6 and more, as activations do."""
    shares = decaying(rank, ratio)
    x = normal(shares, (8, 81))
    if has_tails:
        x = x * torch.randn(8, 81, 1, generator=torch.Generator().manual_seed(1)).mul(0.4).exp()
    made = plan(shares, share)
    held = encode(x, made, 2)
    error = float((decode(held, 81, made, 2) - x).square().sum()) / (8 * 81)
    variances = x.flatten(0, 1).square().mean(0)
    if not has_tails:
        assert made.bits == pytest.approx(held_bits(held) / (8 * 81), rel=0.05)
    assert held_bits(held) / (8 * 81) <= 1.3 * rate_bound(variances, error)


@pytest.mark.parametrize("rows", [(3, 5), (2, 9), (1, 4)])
def test_runs_are_of_two_rows_where_there_is_an_even_number(rows):
    made = plan(decaying(5, 0.8), 1e-3)
    _, units_R, sizes, *_ = encode(normal(decaying(5, 0.8), rows), made, 0)
    run = 1 if math.prod(rows) % 2 else 2
    assert (int(sizes[1]), len(units_R) * run) == (run, math.prod(rows))


@pytest.mark.parametrize("share", [1e-2, 1e-3, 1e-4])
def test_directions_too_weak_for_a_code_of_their_own_are_left_out(share):
    """Coding all above the water level loses as much, and takes more bits."""
    shares = decaying(140, 0.92)
    x, made = normal(shares, (8, 81)), plan(shares, share)
    level = water_level(shares, share)
    water_filling = dataclasses.replace(made, coded=int((shares > level).sum()), level=level)
    assert made.coded < water_filling.coded
    assert held_bits(encode(x, made, 2)) < 0.99 * held_bits(encode(x, water_filling, 2))


@pytest.mark.parametrize("allowed", [1.0, 5.0])
def test_one_direction_is_left_however_much_may_be_lost(allowed):
    shares = torch.tensor([0.6, 0.3, 0.1])
    assert plan(shares, allowed).coded == 1
    assert allocate(shares, allowed).tolist() == [1, 1, 1]
