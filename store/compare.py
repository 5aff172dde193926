"""Comparing groups of runs: variants of the activation store, paired by seed."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa


@dataclass(frozen=True)
class Member:
    """One run of a group; values are None where the run has none."""

    run_id: str
    name: str
    seed: int
    state: str
    exact_accuracy: float | None
    cell_accuracy: float | None
    saved_bytes: float | None
    eager_bytes: float | None
    step_time_s: float | None


@dataclass(frozen=True)
class Spread:
    """``count`` values; the other three are None when there are none."""

    count: int
    mean: float | None
    min: float | None
    max: float | None


@dataclass(frozen=True)
class Group:
    """Runs of one store variant. ``saved_fraction`` is mean saved bytes / mean eager bytes."""

    variant: str
    store: str
    members: list[Member]
    exact_accuracy: Spread
    cell_accuracy: Spread
    saved_bytes: Spread
    eager_bytes: Spread
    step_time_s: Spread
    saved_fraction: float | None


@dataclass(frozen=True)
class Pair:
    """Two succeeded runs of one seed: the variant's against the baseline's (accuracy variant − baseline, others ratios)."""

    seed: int
    baseline_id: str
    variant_id: str
    exact_accuracy_difference: float | None
    step_time_ratio: float | None
    saved_bytes_ratio: float | None


@dataclass(frozen=True)
class Pairing:
    """All pairs of one variant with the baseline, and their means."""

    baseline: str
    variant: str
    pairs: list[Pair]
    exact_accuracy_difference: Spread
    step_time_ratio: Spread
    saved_bytes_ratio: Spread


@dataclass(frozen=True)
class Comparison:
    groups: list[Group]
    pairings: list[Pairing]
    summary: str


def compare(engine: sa.Engine, run_ids: list[str]) -> Comparison:
    """Groups the runs by store variant and pairs each variant with the baseline by seed. Raises NotFound."""
    raise NotImplementedError
