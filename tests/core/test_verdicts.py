"""Paired verdicts: known values, symmetries, calibration, and the cases without variance or seeds."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import ttost_paired

from laser_core import verdicts

ZEROS = [0.0] * 8


def spread(mean, deviation, pairs):
    """Differences with exactly this mean and standard deviation."""
    values = np.linspace(-1, 1, pairs)
    return list(mean + values / values.std(ddof=1) * deviation)


def test_known_values():
    # Student's sleep data (Biometrika 1908), second drug less first: t = 4.0621, p = .00283, interval .70 to 2.46
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    test = verdicts.paired_t(first, second)
    assert test.statistic == pytest.approx(4.0621, abs=1e-4)
    assert test.p == pytest.approx(0.00283, abs=1e-5)
    assert (test.low, test.high) == pytest.approx((0.7001, 2.4599), abs=1e-4)
    # all differences are positive but one of 0: of 2^10 sign vectors 4 reach the sum
    assert verdicts.sign_flip(first, second) == 4 / 2**10


@pytest.mark.parametrize("pairs", [6, 7, 10, 15])
@pytest.mark.parametrize("seed", range(3))
def test_the_same_as_scipy_and_statsmodels(pairs, seed):
    random = np.random.default_rng(seed)
    baseline = random.normal(90, 2, pairs)
    variant = baseline + random.normal(-0.5, 1.5, pairs)
    found = verdicts.verdict(list(baseline), list(variant), 2.0).to_json()
    test = stats.ttest_rel(variant, baseline)
    interval = test.confidence_interval(0.95)
    assert found["paired_t"]["statistic"] == pytest.approx(test.statistic, abs=1e-9)
    assert found["paired_t"]["p"] == pytest.approx(test.pvalue, abs=1e-9)
    assert found["paired_t"]["ci95"] == pytest.approx([interval.low, interval.high], abs=1e-9)
    assert found["tost"]["p"] == pytest.approx(ttost_paired(variant, baseline, -2.0, 2.0)[0], abs=1e-9)
    assert found["tost"]["ci90"] == pytest.approx(list(test.confidence_interval(0.9)), abs=1e-9)
    flips = stats.permutation_test(
        (variant - baseline,), np.sum, permutation_type="samples", n_resamples=np.inf, vectorized=False
    )
    assert found["sign_flip"]["p"] == pytest.approx(flips.pvalue, abs=1e-9)
    lower = verdicts.non_inferiority(list(baseline), list(variant), 2.0)
    assert lower == pytest.approx(ttost_paired(variant, baseline, -2.0, 2.0)[1][1], abs=1e-9)


@pytest.mark.parametrize("flipped", range(6))
def test_sign_flip_counts_ties_of_rounded_accuracies(flipped):
    tenths = np.array([1, 2, 3, 1, 2, 5])  # 0.1 + 0.2 isn't 0.3 in floating point, and yet as much
    tenths[flipped] *= -1
    signs = np.array(list(itertools.product((-1, 1), repeat=6)))
    expected = np.mean(np.abs(signs @ tenths) >= abs(tenths.sum()))
    assert verdicts.sign_flip([0.0] * 6, list(tenths / 10)) == expected


def test_the_bootstrap_knows_seeds_and_puzzles():
    baseline, variant = spread(90, 1.0, 12), spread(88, 1.0, 12)
    found = verdicts.bootstrap(baseline, variant, 1000)
    assert found.low < -2 < found.high < 0
    assert found == verdicts.bootstrap(baseline, variant, 1000)
    few = verdicts.bootstrap(baseline, variant, 20)  # fewer puzzles say less
    assert few.high - few.low > 3 * (found.high - found.low)
    assert few.p > found.p
    with pytest.raises(ValueError, match="per cent"):
        verdicts.bootstrap([101.0, 2.0], [1.0, 2.0], 10)


def test_what_is_printed_is_json_without_infinities():
    told = verdicts.verdict([1.0] * 6, [2.0] * 6, 0.5).to_json()
    assert told["paired_t"] == {"statistic": None, "p": 0.0, "ci95": [1.0, 1.0]}
    assert verdicts.verdict([1.0], [2.0], 0.5).to_json() == {
        "verdict": "too few seeds", "pairs": 1, "paired_t": {"statistic": None, "p": None, "ci95": None},
        "sign_flip": {"p": None}, "tost": {"p": None, "ci90": None}, "seeds_needed": None,
    }  # fmt: skip


def test_sign_flip_by_hand_and_by_draws():
    assert verdicts.sign_flip([0, 0, 0], [1, 1, 1]) == 2 / 8
    assert verdicts.sign_flip(ZEROS[:6], [1, 2, 3, 4, 5, 6]) == 2 / 64
    assert verdicts.sign_flip(ZEROS[:4], [1, -1, 1, -1]) == 1.0
    many = spread(0.3, 1.0, 44)
    sampled = verdicts.sign_flip([0.0] * 44, many)
    assert sampled == verdicts.sign_flip([0.0] * 44, many)
    assert sampled == pytest.approx(verdicts.paired_t([0.0] * 44, many).p, abs=0.02)


@pytest.mark.parametrize("mean", [0.0, 0.4, 3.0])
def test_exchange_turns_the_answer_round(mean):
    values = spread(mean, 1.0, 8)
    there, back = verdicts.verdict(ZEROS, values, 1.0), verdicts.verdict(values, ZEROS, 1.0)
    assert there.t.p == pytest.approx(back.t.p)
    assert there.sign_flip_p == back.sign_flip_p
    assert there.tost.p == pytest.approx(back.tost.p)
    assert (there.t.low, there.t.high) == pytest.approx((-back.t.high, -back.t.low))
    assert {"better": "worse"}.get(there.answer, there.answer) == back.answer


@pytest.mark.parametrize(
    ("mean", "deviation", "answer"),
    [
        (0.0, 0.5, "equivalent"),
        (0.3, 0.1, "equivalent"),  # significant, and inside the margin
        (3.0, 0.5, "better"),
        (-3.0, 0.5, "worse"),
        (0.5, 2.0, "undecided"),
    ],
)
def test_the_rule(mean, deviation, answer):
    assert verdicts.verdict(ZEROS, spread(mean, deviation, 8), 1.0).answer == answer


def test_tost_is_its_interval_inside_the_margin():
    for mean in np.linspace(0, 1.2, 13):
        test = verdicts.tost(ZEROS, spread(mean, 0.5, 8), 1.0)
        assert (test.p < 0.05) == (test.low > -1 and test.high < 1)


def test_non_inferiority_looks_at_one_side():
    assert verdicts.verdict(ZEROS, spread(5.0, 1.0, 8), 2.0).non_inferior
    assert not verdicts.verdict(ZEROS, spread(-1.9, 1.0, 8), 2.0).non_inferior
    assert not verdicts.verdict(ZEROS[:5], [0.0] * 5, 2.0).non_inferior  # too few, however alike


@pytest.mark.parametrize(
    ("difference", "answer"), [(0.0, "equivalent"), (0.1, "equivalent"), (1.0, "better"), (-2.0, "worse")]
)
def test_no_variance_gives_no_nan(difference, answer):
    found = verdicts.verdict([97.1, 98.3, 99.0, 96.4, 95.5, 97.7], [97.1 + difference, *(
        value + difference for value in (98.3, 99.0, 96.4, 95.5, 97.7))], 1.0)  # fmt: skip
    assert found.answer == answer
    numbers = (found.t.p, found.t.low, found.t.high, found.tost.p, found.non_inferiority_p, found.sign_flip_p)
    assert not any(math.isnan(number) for number in numbers)
    assert found.pairs_needed == verdicts.LEAST_PAIRS


@pytest.mark.parametrize("pairs", range(6))
def test_too_few_seeds(pairs):
    found = verdicts.verdict([0.0] * pairs, spread(9.0, 1.0, pairs) if pairs > 1 else [9.0] * pairs, 1.0)
    assert (found.answer, found.pairs) == ("too few seeds", pairs)
    assert not pairs or verdicts.sign_flip([0.0] * pairs, [9.0] * pairs) > 0.05
    assert (found.pairs_needed is None) == (pairs < 2)


def test_seeds_needed():
    needed = [verdicts.seeds_needed(deviation, 1.0) for deviation in (0.0, 0.5, 1.0, 2.0)]
    assert needed[0] == 6
    assert needed == sorted(needed)
    assert needed[3] == pytest.approx((1.645 + 1.282) ** 2 * 4, abs=3)  # the normal approximation of a large sample
    assert verdicts.seeds_needed(1.0, 1.0, power=0.9) > needed[2]


def test_calibration():
    draws = np.random.default_rng(0).standard_normal((400, 8))
    no_effect = [verdicts.verdict(ZEROS, list(row), 0.01).answer for row in draws]
    assert sum(answer in ("better", "worse") for answer in no_effect) / 400 == pytest.approx(0.05, abs=0.03)
    at_the_margin = [verdicts.tost(ZEROS, list(row + 3), 3.0).p < 0.05 for row in draws]
    assert sum(at_the_margin) / 400 == pytest.approx(0.05, abs=0.03)
    pairs = verdicts.seeds_needed(1.0, 1.0)
    draws = np.random.default_rng(1).standard_normal((400, pairs))
    found = [verdicts.tost([0.0] * pairs, list(row), 1.0).p < 0.05 for row in draws]
    assert sum(found) / 400 == pytest.approx(0.8, abs=0.07)


@pytest.mark.parametrize(
    ("baseline", "variant", "margin", "word"),
    [([1.0], [1.0, 2.0], 1.0, "paired"), (ZEROS, ZEROS, 0.0, "margin"), ([math.nan], [1.0], 1.0, "finite")],
)
def test_bad_values_are_refused(baseline, variant, margin, word):
    with pytest.raises(ValueError, match=word):
        verdicts.verdict(baseline, variant, margin)
