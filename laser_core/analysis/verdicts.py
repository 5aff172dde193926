"""Which of LASER's claims hold for one model: thresholds fixed before the benchmark ran, numbers beside them.

The paper's own thresholds aren't known to us; these say what we take its words to mean. Sites count as they are, not
weighted by bytes; ranks are uncentred, at .95 of the energy, over all recursion steps together (one basis serves them all).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Answer = Literal["holds", "does not hold", "not measured"]

LOW_RANK_SHARE = 0.5  # of the width, at the median site: half of the directions hold .95 of the energy
FLAT = 0.75  # intrinsic dimension over that of a flat cloud of the same covariance, at the median site
TRACKED = 0.99  # energy of the tracked basis over the exact SVD's at equal rank, mean over steps, at the worst site
SHARP = 3.0  # largest over smallest rank share of the sites
PAPER_COMPRESSION = 0.925  # the paper's best site


@dataclass(frozen=True)
class Verdict:
    """One statement, put to the numbers. ``threshold`` is what ``value`` was held against."""

    claim: str  # "1a" and "1b" are the paper's claim 1 in two parts
    statement: str
    answer: Answer
    value: float | None
    threshold: str
    numbers: dict[str, float]


def low_dimensional(rank_shares: Mapping[str, float]) -> Verdict:
    """Claim 1a, from every site's rank over width."""
    statement = "Activations of a recursion occupy a low-dimensional linear subspace"
    value = statistics.median(rank_shares.values())
    numbers = _spread(rank_shares.values()) | {
        "sites_below": float(sum(share <= LOW_RANK_SHARE for share in rank_shares.values()))
    }
    return _verdict("1a", statement, value, value <= LOW_RANK_SHARE, f"median rank share ≤ {LOW_RANK_SHARE}", numbers)


def effectively_linear(flatness: Mapping[str, float]) -> Verdict:
    """Claim 1b, from every site's intrinsic dimension over the same estimate for a flat cloud of the same covariance."""
    statement = "The subspace is effectively linear: no curved set of clearly fewer dimensions lies in it"
    if not flatness:
        return _not_measured("1b", statement, f"median dimension ratio ≥ {FLAT}")
    value = statistics.median(flatness.values())
    numbers = _spread(flatness.values()) | {"sites_flat": float(sum(ratio >= FLAT for ratio in flatness.values()))}
    return _verdict("1b", statement, value, value >= FLAT, f"median dimension ratio ≥ {FLAT}", numbers)


def trackable(
    tracked: Mapping[str, float], exact: Mapping[str, float], frozen: Mapping[str, float], sites: int
) -> tuple[Verdict, Verdict]:
    """Claims 2a (power iterations find what the SVD finds) and 2b (and what they found serves the steps that follow).

    All are mean energy ratios to the SVD of the very step, of every site that was packed at all: of the tracked basis, of
    the SVD made at the same updates, and of the first step's.
    """
    finds = "Warm-started power iterations find the principal directions as the exact SVD of the same steps would"
    serves = "The tracked basis serves later steps as well as their own SVD would"
    limits = (f"worst site's energy over the SVD's ≥ {TRACKED}", f"worst site's energy over its own SVD's ≥ {TRACKED}")
    if not tracked:
        return _not_measured("2a", finds, limits[0]), _not_measured("2b", serves, limits[1])
    beside = {site: ratio / exact[site] for site, ratio in tracked.items()}
    kept = {"sites_in_full": float(sites - len(tracked))}
    without = {f"frozen_{name}": x for name, x in _spread(frozen.values()).items() if name != "sites"}
    worst, least = min(beside.values()), min(tracked.values())
    return (
        _verdict("2a", finds, worst, worst >= TRACKED, limits[0], _spread(beside.values()) | kept),
        _verdict("2b", serves, least, least >= TRACKED, limits[1], _spread(tracked.values()) | without | kept),
    )


def varied(rank_shares: Mapping[str, float]) -> tuple[Verdict, Verdict]:
    """Claims 3a (sites differ sharply) and 3b (the best is compressed as far as the paper's)."""
    numbers, least = _spread(rank_shares.values()), min(rank_shares.values())
    ratio, best = max(rank_shares.values()) / least, 1 - least
    differ = "Concentration varies sharply across sites"
    reach = f"The most concentrated site allows {PAPER_COMPRESSION:.1%} compression"
    return (
        _verdict("3a", differ, ratio, ratio >= SHARP, f"largest over smallest rank share ≥ {SHARP:g}", numbers),
        _verdict("3b", reach, best, best >= PAPER_COMPRESSION, f"1 - least rank share ≥ {PAPER_COMPRESSION}", numbers),
    )


def _verdict(
    claim: str, statement: str, value: float, holds: bool, threshold: str, numbers: dict[str, float]
) -> Verdict:
    return Verdict(claim, statement, "holds" if holds else "does not hold", value, threshold, numbers)


def _not_measured(claim: str, statement: str, threshold: str) -> Verdict:
    return Verdict(claim, statement, "not measured", None, threshold, {})


def _spread(values: Iterable[float]) -> dict[str, float]:
    numbers = list(values)
    return {
        "sites": float(len(numbers)),
        "least": min(numbers),
        "median": statistics.median(numbers),
        "most": max(numbers),
    }
