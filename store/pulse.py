"""How the pool is doing, in numbers for monitoring: one cheap look at the database, however many runs it holds."""

from __future__ import annotations

import time
from dataclasses import dataclass

import sqlalchemy as sa

from store.database import read
from store.policy import BANDS, NAMES, Priority
from store.states import State
from store.tables import attempts, runs, series
from store.workers import Worker, list_workers

OVERLAP_S = 60.0  # clocks of workers may be so far behind ours


@dataclass(frozen=True)
class Pulse:
    """``queued`` and ``longest_wait_s`` by band; ``claims`` is how often a worker took a run, of those that still exist."""

    states: dict[str, int]
    queued: dict[Priority, int]
    longest_wait_s: dict[Priority, float]
    claims: int
    workers: list[Worker]


def look(engine: sa.Engine, lease_s: float, *, now: float | None = None) -> Pulse:
    """As of ``now``; workers are alive that were heard of within ``lease_s``."""
    now = time.time() if now is None else now
    by_state = sa.select(runs.c.state, sa.func.count()).group_by(runs.c.state)
    waiting = sa.select(runs.c.band, sa.func.count(), sa.func.min(runs.c.state_since))
    waiting = waiting.where(runs.c.state == State.queued).group_by(runs.c.band)
    states, queued, waits = dict.fromkeys(map(str, State), 0), dict.fromkeys(BANDS, 0), dict.fromkeys(BANDS, 0.0)
    with read(engine) as connection:
        states |= {str(state): count for state, count in connection.execute(by_state)}
        for band, count, since in connection.execute(waiting):
            queued[NAMES[band]], waits[NAMES[band]] = count, max(0.0, now - since)
        claims = connection.execute(sa.select(sa.func.count()).select_from(attempts)).scalar_one()
    return Pulse(states, queued, waits, claims, list_workers(engine, lease_s, now=now))


class Ingested:
    """Counts the points that arrive. Only runs that changed since the last look are asked: a sum over all would cost more
    the more there is, and fall when runs are deleted."""

    def __init__(self) -> None:
        self.points = 0
        self._of_run: dict[int, int] = {}
        self._since: float | None = None

    def look(self, engine: sa.Engine, *, now: float | None = None) -> int:
        """Points since the first look, which counts none."""
        now = time.time() if now is None else now
        query = sa.select(series.c.run, sa.func.sum(series.c.points)).group_by(series.c.run)
        if self._since is not None:
            changed = sa.select(runs.c.number).where(runs.c.updated_at > self._since)
            query = query.where(series.c.run.in_(changed))
        with read(engine) as connection:
            stored = {run: int(points) for run, points in connection.execute(query)}
        if self._since is not None:
            self.points += sum(max(0, points - self._of_run.get(run, 0)) for run, points in stored.items())
        self._of_run |= stored
        self._since = now - OVERLAP_S
        return self.points
