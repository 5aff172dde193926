"""Runs trained under faults: both are fed in as time goes on, so that there is always something to hit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import sqlalchemy as sa

from benchmarks.chaos import work
from benchmarks.chaos.faults import KINDS, POINTS_WEIGHT, Armed, Fault, Strike, arm, strike
from benchmarks.chaos.lab import Lab
from store.database import read
from store.states import FINAL
from store.tables import runs

TICK_S = 0.2
Show = Callable[[int, int, str], None]  # (faults so far, runs ended, the newest fault)


@dataclass
class Storm:
    """``gap_s``: mean time between two faults; ``variants``: different runs that are reused."""

    seed: int
    faults: int
    runs: int
    gap_s: float = 6.0
    steps: int = 120
    variants: int = 6
    kinds: Mapping[Strike, int] = field(default_factory=lambda: KINDS)
    points_weight: float = POINTS_WEIGHT
    struck: list[Fault] = field(default_factory=list)
    submitted: dict[str, int] = field(default_factory=dict)  # variant by run
    _armed: list[Armed] = field(default_factory=list)
    _due: float = 0.0
    _ended: int = 0

    def rage(self, lab: Lab, show: Show, limit_s: float) -> bool:
        """Whether every run has ended within ``limit_s``."""
        rng, deadline = Random(self.seed), time.monotonic() + limit_s
        while time.monotonic() < deadline:
            lab.tend()
            self._collect(lab)
            if not lab.away_until_undone:  # nobody answers then
                self._feed(lab)
                self._ended = ended(lab.engine, self.submitted)
            is_over = len(self.struck) >= self.faults
            if is_over:
                self._disarm(lab)
            elif time.monotonic() >= self._due:
                self._strike(lab, rng)
            show(len(self.struck), self._ended, self.struck[-1].kind if self.struck else "")
            if is_over and self._ended == self.runs:
                return True
            time.sleep(TICK_S)
        return False

    def _feed(self, lab: Lab) -> None:
        """As many runs as keep the workers busy until the last fault; no queue that a lost run would have to wait in."""
        due = lab.workers + (self.runs * len(self.struck) // self.faults if self.faults else self.runs)
        while len(self.submitted) < min(self.runs, due, self._ended + lab.workers):
            number = len(self.submitted)
            variant = number % self.variants
            run_id = lab.submit(work.config(variant, self.steps), f"chaos-{number}")
            if run_id is None:  # the API is away; the key makes the same run of it
                return
            self.submitted[run_id] = variant

    def _strike(self, lab: Lab, rng: Random) -> None:
        if rng.uniform(0, 100) < self.points_weight:
            if len(self._armed) < 3:
                point = arm(lab, rng)
                self._armed = [each for each in self._armed if each.label != point.label] + [point]
        elif fault := strike(lab, rng, self.kinds):
            self.struck.append(fault)
        else:
            return  # nobody to hit: another try at the next tick
        self._due = time.monotonic() + rng.uniform(0.3, 1.7) * self.gap_s

    def _collect(self, lab: Lab) -> None:
        """Faults that happened at the points."""
        for point in list(self._armed):
            if fault := point.struck(lab):
                self.struck.append(fault)
                self._armed.remove(point)
            elif time.monotonic() > point.until:
                point.disarm(lab)
                self._armed.remove(point)

    def _disarm(self, lab: Lab) -> None:
        for point in self._armed:
            point.disarm(lab)


def ended(engine: sa.Engine, run_ids: Iterable[str]) -> int:
    """How many of the runs have ended; those that can't be asked for count as not."""
    query = sa.select(sa.func.count()).where(runs.c.id.in_(list(run_ids)), runs.c.state.in_(FINAL))
    try:
        with read(engine) as connection:
            return int(connection.execute(query).scalar_one())
    except sa.exc.OperationalError:
        return 0


def settled(lab: Lab, seconds: float) -> None:
    """Lets time pass, so that whoever was stopped comes back and finds itself fenced."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        lab.tend()
        time.sleep(TICK_S)


def summary(faults: Iterable[Fault]) -> dict[str, Any]:
    """How often each kind struck."""
    kinds: dict[str, int] = {}
    for fault in faults:
        kinds[fault.kind] = kinds.get(fault.kind, 0) + 1
    return dict(sorted(kinds.items()))
