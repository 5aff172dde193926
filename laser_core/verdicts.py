"""Verdicts over paired seeds: is a variant better, worse, equivalent, or can't the data say?

Values are in percentage points, one per seed, in the same order for baseline and variant; a difference is variant less
baseline, so more is better. The rule, in this order, at α = .05 and a margin fixed before the runs:

1. **too few seeds**: under 6 pairs no sign-flip test can reach p < .05, whatever the data;
2. **equivalent**: both one-sided tests (TOST) place the mean difference inside ±margin. A small difference that is
   significant and yet inside the margin is equivalent too;
3. **better** or **worse**: the paired t-test and the exact sign-flip permutation test agree, both two-sided;
4. **undecided**: all else, with the pairs that would do.

Where all differences are the same there is no variance to test with: they count as known exactly, so p is 0 or 1. For TOST
see Schuirmann, J. Pharmacokinet. Biopharm. 15 (1987) 657. The module needs numpy and scipy alone: the platform, the command
line and the benchmarks all judge by it (docs/statistics.md says it in plain words).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

Answer = Literal["better", "worse", "equivalent", "undecided", "too few seeds"]
Floats = NDArray[np.float64]

ALPHA = 0.05
LEAST_PAIRS = 6  # 2 / 2⁶ < .05 < 2 / 2⁵
EXACT_PAIRS = 40
SAMPLES = 100_000  # sign vectors drawn beyond that
REPLICATES = 4000  # of the bootstrap
MOST_PAIRS = 100_000  # no more are ever asked for
SAME = 1e-12  # spread of differences, relative to their size, that is rounding


@dataclass(frozen=True)
class Interval:
    """A test's p and the interval of the mean difference in points; ``statistic`` is Student's t where there is one."""

    p: float
    low: float
    high: float
    statistic: float | None = None


@dataclass(frozen=True)
class Verdict:
    """The answer and all it rests on. ``t`` has the 95 % interval, ``tost`` the 90 % one; both None below two pairs.
    ``pairs_needed``: for TOST at power .8, were there no true difference; None below two pairs."""

    answer: Answer
    pairs: int
    mean: float | None
    margin: float
    t: Interval | None
    sign_flip_p: float | None
    tost: Interval | None
    non_inferiority_p: float | None
    pairs_needed: int | None

    @property
    def non_inferior(self) -> bool:
        """Whether the variant is not worse by the margin, on enough pairs."""
        return self.pairs >= LEAST_PAIRS and self.non_inferiority_p is not None and self.non_inferiority_p < ALPHA

    def to_json(self) -> dict[str, Any]:
        """What ``laser verdict --json`` prints. A t without variance is infinite and becomes None, as does what two pairs or
        fewer can't tell."""
        t, within = self.t, self.tost
        statistic = t.statistic if t and t.statistic is not None and math.isfinite(t.statistic) else None
        return {
            "verdict": self.answer,
            "pairs": self.pairs,
            "paired_t": {"statistic": statistic, "p": t and t.p, "ci95": t and [t.low, t.high]},
            "sign_flip": {"p": self.sign_flip_p},
            "tost": {"p": within and within.p, "ci90": within and [within.low, within.high]},
            "seeds_needed": self.pairs_needed,
        }


def paired_t(baseline: Sequence[float], variant: Sequence[float], level: float = 0.95) -> Interval:
    """Student's two-sided test that the mean difference is 0, with its interval. Needs two pairs."""
    difference = _differences(baseline, variant, 2)
    mean = float(difference.mean())
    if _same(difference):
        return Interval(float(mean == 0), mean, mean, math.copysign(math.inf, mean) if mean else 0.0)
    error, freedom = _standard_error(difference), len(difference) - 1
    reach = float(special.stdtrit(freedom, (1 + level) / 2)) * error
    return Interval(2 * _t_cdf(-abs(mean) / error, freedom), mean - reach, mean + reach, mean / error)


def sign_flip(baseline: Sequence[float], variant: Sequence[float], seed: int = 0) -> float:
    """Two-sided p of the sum of differences among all 2ⁿ ways to flip their signs: exact up to ``EXACT_PAIRS`` pairs, then
    from ``SAMPLES`` seeded draws."""
    difference = _differences(baseline, variant, 1)
    # The same sum in another order of addition counts as reached.
    seen = abs(math.fsum(difference)) - SAME * float(np.abs(difference).sum())
    if seen <= 0:
        return 1.0
    if len(difference) > EXACT_PAIRS:
        signs = np.random.default_rng(seed).integers(0, 2, (SAMPLES, len(difference)), dtype=np.int8) * 2 - 1
        return float(1 + np.sum(np.abs(signs @ difference) >= seen)) / (SAMPLES + 1)
    # Every sum is one of the first half's and one of the second's: sorting one half counts the pairs that reach it.
    middle = len(difference) // 2
    first, second = _signed_sums(difference[:middle]), np.sort(_signed_sums(difference[middle:]))
    reached = len(first) * len(second) - int(np.searchsorted(second, seen - first).sum())
    return 2 * reached / 2.0 ** len(difference)  # as many sums are as far below 0


def bootstrap(
    baseline: Sequence[float], variant: Sequence[float], puzzles: int, level: float = 0.95, seed: int = 0
) -> Interval:
    """Hierarchical bootstrap of the mean difference, seeds first and then puzzles: what other seeds *and* other puzzles
    might have shown. ``p`` is two-sided, from the share of replicates beyond 0.

    Values are per cent of ``puzzles`` solved. Drawing a run's puzzles anew is a binomial draw; baseline and variant are drawn
    apart, because which puzzles each solved isn't kept, so the interval is rather too wide than too narrow.
    """
    difference = _differences(baseline, variant, 2)
    if puzzles < 1 or not all(0 <= value <= 100 for values in (baseline, variant) for value in values):
        raise ValueError("expected per cent of at least one puzzle, from 0 to 100")
    random = np.random.default_rng(seed)
    chosen = random.integers(0, len(difference), (REPLICATES, len(difference)))

    def redrawn(values: Sequence[float]) -> Floats:
        solved = random.binomial(puzzles, np.asarray(values, dtype=np.float64)[chosen] / 100)
        return np.asarray(100 * solved / puzzles, dtype=np.float64)

    means = (redrawn(variant) - redrawn(baseline)).mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    beyond = min(float(np.mean(means <= 0)), float(np.mean(means >= 0)))
    return Interval(min(1.0, 2 * max(beyond, 1 / REPLICATES)), float(low), float(high))


def tost(baseline: Sequence[float], variant: Sequence[float], margin: float) -> Interval:
    """Two one-sided tests that the mean difference lies inside ±``margin``: the larger p, and the 90 % interval."""
    _check_margin(margin)
    interval = paired_t(baseline, variant, 1 - 2 * ALPHA)
    below = non_inferiority(variant, baseline, margin)
    return Interval(max(below, non_inferiority(baseline, variant, margin)), interval.low, interval.high)


def non_inferiority(baseline: Sequence[float], variant: Sequence[float], margin: float) -> float:
    """One-sided p that the mean difference is above -``margin``."""
    _check_margin(margin)
    difference = _differences(baseline, variant, 2)
    if _same(difference):
        return float(difference.mean() <= -margin)
    return _t_cdf(-(float(difference.mean()) + margin) / _standard_error(difference), len(difference) - 1)


def seeds_needed(deviation: float, margin: float, power: float = 0.8) -> int:
    """Pairs with which TOST finds equivalence with probability ``power``, the true difference being 0 and the differences'
    standard deviation ``deviation`` points; at least 6. Each side must fail with at most half of what is left."""
    _check_margin(margin)
    if not deviation >= 0 or not 0 < power < 1:
        raise ValueError(f"expected a deviation of at least 0 and a power between 0 and 1, got {deviation} and {power}")
    if deviation == 0:
        return LEAST_PAIRS

    def missed(pairs: int) -> float:
        bound = special.stdtrit(pairs - 1, 1 - ALPHA)
        return 2 * float(special.nctdtr(pairs - 1, margin * math.sqrt(pairs) / deviation, bound))

    low = high = LEAST_PAIRS  # more pairs miss less, so halving finds the first number that does
    while high < MOST_PAIRS and missed(high) > 1 - power:
        low, high = high + 1, min(2 * high, MOST_PAIRS)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if missed(middle) > 1 - power else (low, middle)
    return high


def verdict(baseline: Sequence[float], variant: Sequence[float], margin: float) -> Verdict:
    """The answer by the module's rule; ``margin`` in percentage points. Raises ValueError for unpaired or non-finite values."""
    _check_margin(margin)
    difference = _differences(baseline, variant, 0)
    pairs = len(difference)
    if pairs < 2:
        mean = float(difference[0]) if pairs else None
        return Verdict("too few seeds", pairs, mean, margin, None, None, None, None, None)
    t, flipped, within = paired_t(baseline, variant), sign_flip(baseline, variant), tost(baseline, variant, margin)
    mean, deviation = float(difference.mean()), 0.0 if _same(difference) else float(difference.std(ddof=1))
    answer: Answer = "undecided"
    if pairs < LEAST_PAIRS:
        answer = "too few seeds"
    elif within.p < ALPHA:
        answer = "equivalent"
    elif max(t.p, flipped) < ALPHA:
        answer = "better" if mean > 0 else "worse"
    needed = seeds_needed(deviation, margin)
    return Verdict(answer, pairs, mean, margin, t, flipped, within, non_inferiority(baseline, variant, margin), needed)


def _differences(baseline: Sequence[float], variant: Sequence[float], least: int) -> Floats:
    """Variant less baseline, checked."""
    if len(baseline) != len(variant):
        raise ValueError(f"values aren't paired: {len(baseline)} of the baseline, {len(variant)} of the variant")
    if len(baseline) < least:
        raise ValueError(f"expected at least {least} pairs, got {len(baseline)}")
    difference = np.asarray(variant, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    if not np.isfinite(difference).all():
        raise ValueError("expected finite values only; leave out the pairs of failed runs, and say so")
    return difference


def _standard_error(difference: Floats) -> float:
    return float(difference.std(ddof=1)) / math.sqrt(len(difference))


def _t_cdf(t: float, freedom: int) -> float:
    return float(special.stdtr(freedom, t))


def _signed_sums(values: Floats) -> Floats:
    """The sums under every choice of signs."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate((sums + value, sums - value))
    return sums


def _same(difference: Floats) -> bool:
    return bool(np.ptp(difference) <= SAME * max(1.0, float(np.abs(difference).max())))


def _check_margin(margin: float) -> None:
    if not margin > 0:
        raise ValueError(f"margin: expected more than 0 percentage points, got {margin}")
