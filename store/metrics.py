"""Reading metrics: down-sampled for charts with extremes kept, or every point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa


@dataclass(frozen=True)
class Series:
    """One metric's points, steps rising; ``count`` is how many there are before down-sampling. Values may be nan or inf."""

    key: str
    steps: list[int]
    values: list[float]
    count: int


def keys(engine: sa.Engine, run_id: str) -> list[str]:
    """Names of a run's metrics, sorted. Raises NotFound."""
    raise NotImplementedError


def read(
    engine: sa.Engine,
    run_id: str,
    keys: Sequence[str] | None = None,
    points: int = 1000,
    after_step: int | None = None,
) -> list[Series]:
    """At most about ``points`` points of each metric (all metrics when ``keys`` is None), after ``after_step``; least and
    greatest value of every stretch are kept exactly. Raises NotFound."""
    raise NotImplementedError


def iter_points(engine: sa.Engine, run_id: str) -> Iterator[tuple[str, int, float]]:
    """Every (key, step, value), by key and step, read chunk by chunk. Raises NotFound at once."""
    raise NotImplementedError
