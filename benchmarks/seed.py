"""A database as it is after months: many runs that have ended, and one with a long curve.

    LASER_HOME=/tmp/full .venv/bin/python -m benchmarks.seed --runs 100000 --points 1000000

The database must have no runs yet. What it gets is the same for the same ``--seed``, times aside.
"""

from __future__ import annotations

import argparse
import base64
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from laser_core.config import SCHEMA_VERSION, config_hash, parse_run
from laser_core.schema import to_json
from store import access, database, metrics
from store.settings import Settings
from store.states import State
from store.tables import events, run_tags, runs

STORES = ("none", "laser", "laser-fused", "laser-coded", "quant")
TAGS = ("ablation", "baseline", "nightly", "paper", "scouting")
STATES = (State.succeeded,) * 18 + (State.failed, State.cancelled)
KEYS = ("test.exact_accuracy", "test.loss", "train.loss")
LONG_KEY, LONG_NAME = "train.loss", "a long run"
STEPS, POINTS = 2000, 20  # of an ordinary run
PER_TRANSACTION = 500
SPIKES = (1000.0, -1000.0)  # of the long curve: what a chart must not lose
INTERVAL_S = 120.0  # between two submits


@dataclass(frozen=True)
class Seeded:
    """What tests and benchmarks need to know of it."""

    long_run: str  # id
    runs: int
    points: int


def seed(engine: sa.Engine, run_count: int, points: int, seed: int = 0) -> Seeded:
    """Fills a migrated database; the last run has ``points`` points more. Raises ValueError for a database that has runs."""
    with database.read(engine) as connection:
        if connection.execute(sa.select(runs.c.number).limit(1)).first():
            raise ValueError("the database has runs already; give an empty one (LASER_HOME or LASER_DATABASE_URL)")
    owner = access.ensure_local_user(engine)[0].id
    made = _Made(owner, run_count, np.random.default_rng(seed), time.time())
    for first in range(1, run_count + 1, PER_TRANSACTION):
        numbers = range(first, min(first + PER_TRANSACTION, run_count + 1))
        with database.write(engine) as connection:
            rows = [made.run(number) for number in numbers]
            connection.execute(sa.insert(runs), rows)
            connection.execute(sa.insert(run_tags), [tag for number in numbers for tag in made.tags(number)])
            connection.execute(sa.insert(events), [event for row in rows for event in _events(row)])
            metrics.append_all(connection, {number: made.points() for number in numbers})
    _restart_numbers(engine, run_count)
    with database.write(engine) as connection:
        connection.execute(sa.update(runs).where(runs.c.number == run_count).values(name=LONG_NAME, state="succeeded"))
    _add_long_curve(engine, run_count, long_curve(points, made.rng))
    return Seeded(_id(run_count), run_count, points)


def long_curve(points: int, rng: np.random.Generator) -> Any:
    """Values of a falling, noisy curve with one spike up and one down."""
    values = 2 * np.exp(-np.arange(points) / points * 5) + rng.normal(scale=0.05, size=points)
    values[[points // 3, points // 2]] = SPIKES
    return values


class _Made:
    """Rows of run after run, drawn from one generator."""

    def __init__(self, owner: str, run_count: int, rng: np.random.Generator, now: float) -> None:
        self.owner, self.run_count, self.rng, self.now = owner, run_count, rng, now
        configs = [
            [parse_run({"kind": "train", "store": {"kind": kind}, "seed": s}) for s in range(10)] for kind in STORES
        ]
        self.configs = [[(to_json(config), config_hash(config)) for config in of_store] for of_store in configs]

    def run(self, number: int) -> dict[str, Any]:
        at = self.now - (self.run_count - number + 1) * INTERVAL_S
        variant = int(self.rng.integers(len(STORES)))
        config, digest = self.configs[variant][number % 10]
        return {
            "number": number,
            "id": _id(number),
            "owner_id": self.owner,
            "name": f"{STORES[variant]} · width {2 ** int(self.rng.integers(4, 10))} · seed {number % 10}",
            "kind": "train",
            "store_kind": STORES[variant],
            "seed": number % 10,
            "config": config,
            "config_hash": digest,
            "schema_version": SCHEMA_VERSION,
            "state": STATES[int(self.rng.integers(len(STATES)))],
            "state_since": at + 90,
            "epoch": 1,
            "step": STEPS,
            "steps": STEPS,
            "step_time_s": 0.04,
            "last_seq": 3,
            "created_at": at,
            "started_at": at + 1,
            "finished_at": at + 90,
            "updated_at": at + 90,
        }

    def tags(self, number: int) -> list[dict[str, Any]]:
        chosen = self.rng.choice(len(TAGS), size=2, replace=False)
        return [{"run": number, "tag": TAGS[tag]} for tag in chosen]

    def points(self) -> metrics.Points:
        steps = np.arange(1, POINTS + 1) * (STEPS // POINTS)
        curves = 1 - np.exp(-np.outer(self.rng.uniform(0.05, 0.5, len(KEYS)), np.arange(POINTS)))
        curves = np.clip(curves + self.rng.normal(scale=0.01, size=curves.shape), 0, 1)
        return {key: (steps, curve) for key, curve in zip(KEYS, curves, strict=True)}  # type: ignore[misc]


def _id(number: int) -> str:
    return "r_" + base64.b32encode(number.to_bytes(8, "big")).decode().lower()[1:13]


def _events(row: dict[str, Any]) -> list[dict[str, Any]]:
    path = ("", State.queued, State.running, row["state"])
    times = (row["created_at"], row["started_at"], row["finished_at"])
    return [
        {"run": row["number"], "seq": seq, "time": at, "kind": "state", "epoch": min(seq - 1, 1)}
        | {"data": {"state": path[seq], "from": path[seq - 1], "reason": ""}}
        for seq, at in enumerate(times, 1)
    ]


def _restart_numbers(engine: sa.Engine, run_count: int) -> None:
    """PostgreSQL's sequence hasn't seen the numbers that were given."""
    if engine.dialect.name == "postgresql":
        with database.write(engine) as connection:
            connection.exec_driver_sql(f"SELECT setval('runs_number_seq', {run_count})")


def _add_long_curve(engine: sa.Engine, number: int, values: Any) -> None:
    points = len(values)
    piece = 100_000
    for first in range(0, points, piece):
        steps = np.arange(first, min(first + piece, points)) + STEPS + 1
        with database.write(engine) as connection:
            curve = {LONG_KEY: (steps, values[first : first + piece])}
            metrics.append(connection, number, curve)  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--points", type=int, default=1_000_000, help="of one metric of the newest run")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started, settings = time.monotonic(), Settings()
    engine = database.connect(settings.database_url)
    database.migrate(engine)
    try:
        seeded = seed(engine, options.runs, options.points, options.seed)
    except ValueError as error:
        sys.exit(f"seed: {error}")
    finally:
        engine.dispose()
    took = time.monotonic() - started
    print(f"seed: {seeded.runs} runs, {seeded.points} points in {seeded.long_run}, {took:.0f} s")


if __name__ == "__main__":
    main()
