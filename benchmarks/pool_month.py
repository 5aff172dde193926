"""A month of a lab's pool: twelve users, eight slots, the real claims on a simulated clock.

    .venv/bin/python -m benchmarks.pool_month [--days 30] [--seed 0] [--out docs/results/pool_month.json]

Four heavy users (one with two shares) always have runs waiting, four light ones submit a few a day, four bursty ones many at
once every week. Written down: who got how many slot-hours each day, whether heavy users got the max-min fair share (the
others get all that they ask for; what is left is divided by shares), how far any run was overtaken within its band, and how
far guesses of when a run starts were off.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from rich.progress import Progress

from laser_core.config import parse_run
from store import claims, database, queue, workers
from store.policy import BANDS, Policy
from store.requests import Request
from store.settings import Settings
from store.states import State
from store.submit import create_run
from store.tables import users

HOUR, DAY = 3600.0, 86_400.0
SLOTS = 8
HEAVY = {"heavy-1": 2.0, "heavy-2": 1.0, "heavy-3": 1.0, "heavy-4": 1.0}  # shares
LIGHT, BURSTY = ([f"{kind}-{number}" for number in range(1, 5)] for kind in ("light", "bursty"))
BACKLOG = 4  # runs that a heavy user has waiting at any time
STEPS = {"heavy": 1800, "light": 600, "bursty": 300}  # a tenth of a minute each, give or take a fifth
LOOK_EVERY = 12  # submits between two guesses that are written down
SETTLED = 0.25  # of the month before shares are measured


class Month:
    """The lab. Its clock starts at ``T0`` and goes from event to event."""

    T0 = 1_800_000_000.0

    def __init__(self, folder: Path, days: float, seed: int) -> None:
        self.settings = Settings(home=folder, lease_s=1e9)
        self.engine = database.connect(self.settings.database_url)
        database.migrate(self.engine)
        self.random = random.Random(seed)
        self.end = self.T0 + days * DAY
        self.events: list[tuple[float, int, str, str]] = []  # time, tie-breaker, "submit" or "finish", whose or which
        self.counter, self.seeds = itertools.count(), itertools.count()
        self.owner: dict[str, str] = {}
        self.submitted: dict[str, float] = {}
        self.waiting: dict[str, str] = {}  # run -> band
        self.running: dict[str, tuple[float, int]] = {}  # run -> (start, epoch)
        self.used: list[tuple[str, float, float]] = []  # owner, start, end
        self.guesses: dict[str, float] = {}  # run -> start as guessed when it was submitted
        self.waits: dict[str, list[float]] = {}
        self.off: list[tuple[float, float]] = []  # (seconds waited, seconds off)
        self.overtaken_s = 0.0
        self._add_users()

    def _add_users(self) -> None:
        names = [*HEAVY, *LIGHT, *BURSTY]
        made = [
            {"id": n, "name": n, "role": "member", "created_at": self.T0, "shares": HEAVY.get(n, 1.0)} for n in names
        ]
        with database.write(self.engine) as connection:
            connection.execute(sa.insert(users), made)
        workers.register(self.engine, "pool", "lab", 1, SLOTS, "simulated", "1", now=self.T0)
        for name in HEAVY:
            for _ in range(BACKLOG):
                self._at(self.T0, "submit", name)
        for name in LIGHT:
            self._at(self.T0 + self.random.expovariate(1 / (DAY / 3)), "submit", name)
        for number, name in enumerate(BURSTY):
            for week in range(5):
                for _ in range(60):
                    self._at(self.T0 + (week * 7 + number * 1.7 + 0.4) * DAY, "submit", name)

    def _at(self, when: float, what: str, whom: str) -> None:
        if when < self.end:
            heapq.heappush(self.events, (when, next(self.counter), what, whom))

    def live(self, progress: Progress) -> None:
        """Lets the month pass."""
        bar = progress.add_task("days", total=(self.end - self.T0) / DAY)
        while self.events:
            now, _, what, whom = heapq.heappop(self.events)
            self._submit(whom, now) if what == "submit" else self._finish(whom, now)
            while len(self.running) < SLOTS and self._start(now):
                pass
            progress.update(bar, completed=(now - self.T0) / DAY)
        for run, (start, _) in self.running.items():
            self.used.append((self.owner[run], start, self.end))

    def _submit(self, name: str, now: float) -> None:
        kind = name.split("-")[0]
        band = "high" if self.random.random() < 0.02 else "normal"
        config = parse_run({"kind": "train", "seed": next(self.seeds), "training": {"steps": STEPS[kind]}})
        run = create_run(self.engine, config, name, request=Request(band), now=now)[0].id
        self.owner[run], self.submitted[run], self.waiting[run] = name, now, band
        if kind == "light":
            self._at(now + self.random.expovariate(1 / (DAY / 3)), "submit", name)
        if len(self.submitted) % LOOK_EVERY == 0:
            seen = {waiting.run_id: waiting for waiting in queue.look(self.engine, self.settings, now=now).waiting}
            if (starts_in_s := seen[run].starts_in_s) is not None:
                self.guesses[run] = now + starts_in_s

    def _start(self, now: float) -> bool:
        claim = claims.claim_run(self.engine, "pool", 1e9, settings=self.settings, now=now)
        if claim is None:
            return False
        run = claim.run_id
        claims.mark_running(self.engine, run, claim.epoch, now=now)
        band = self.waiting.pop(run)
        name, mine = self.owner[run], self.submitted[run]
        before = [self.submitted[other] for other, of in self.waiting.items() if of == band]
        self.overtaken_s = max(self.overtaken_s, mine - min(before, default=mine))
        self.waits.setdefault(name, []).append(now - mine)
        if run in self.guesses:
            self.off.append((now - mine, now - self.guesses[run]))
        self.running[run] = now, claim.epoch
        took = STEPS[name.split("-")[0]] * 6.0 * self.random.uniform(0.8, 1.2)
        heapq.heappush(self.events, (now + took, next(self.counter), "finish", run))
        if name in HEAVY:
            self._at(now, "submit", name)
        return True

    def _finish(self, run: str, now: float) -> None:
        start, epoch = self.running.pop(run)
        claims.finish(self.engine, run, epoch, State.succeeded, now=now)
        self.used.append((self.owner[run], start, now))

    # --- what came out

    def hours(self, name: str, since: float, until: float) -> float:
        """Slot-hours that a user held between two times."""
        return sum(max(0.0, min(b, until) - max(a, since)) for owner, a, b in self.used if owner == name) / HOUR

    def report(self) -> dict[str, Any]:
        """The whole month in numbers."""
        days = round((self.end - self.T0) / DAY)
        since = self.T0 + SETTLED * (self.end - self.T0)
        heavy = {name: self.hours(name, since, self.end) for name in HEAVY}
        shares = {name: share / sum(HEAVY.values()) for name, share in HEAVY.items()}
        got = {name: hours / sum(heavy.values()) for name, hours in heavy.items()}
        off = sorted(abs(error) for _, error in self.off)
        return {
            "days": days, "slots": SLOTS, "runs": len(self.submitted), "started": len(self.used),
            "policy": {"half_life_s": Policy().half_life_s, "age_s": Policy().age_s}, "bands": list(BANDS),
            "heavy_share_wanted": shares, "heavy_share_got": got,
            "worst_share_error": max(abs(got[name] - shares[name]) / shares[name] for name in HEAVY),
            "most_overtaken_s": self.overtaken_s, "bound_s": Policy().age_s,
            "wait_median_s": {name: statistics.median(waits) for name, waits in sorted(self.waits.items())},
            "eta": {
                "guesses": len(off), "median_off_s": statistics.median(off), "p90_off_s": off[int(0.9 * len(off))],
                "median_wait_s": statistics.median(wait for wait, _ in self.off),
            },
            "slot_hours_by_day": {
                name: [self.hours(name, self.T0 + day * DAY, self.T0 + (day + 1) * DAY) for day in range(days)]
                for name in (*HEAVY, *LIGHT, *BURSTY)
            },
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--days", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/results/pool_month.json"))
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, Progress() as progress:
        month = Month(Path(folder), options.days, options.seed)
        month.live(progress)
        report = month.report() | {"seed": options.seed, "took_s": round(time.monotonic() - began, 1)}
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    eta = report["eta"]
    print(
        f"{report['runs']} runs; worst share error {report['worst_share_error']:.1%}; most overtaken by "
        f"{report['most_overtaken_s'] / DAY:.2f} days of {report['bound_s'] / DAY:g}; starts guessed to within "
        f"{eta['median_off_s'] / 60:.0f} minutes (median; waits {eta['median_wait_s'] / 60:.0f}). Raw: {options.out}"
    )


if __name__ == "__main__":
    main()
