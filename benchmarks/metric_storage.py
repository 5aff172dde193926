"""How to store metrics: packed chunks (store.metrics) or one row per point with 10×, 100× and 1000× rollups.

    .venv/bin/python -m benchmarks.metric_storage [--points 200000] [--chart 1000000] [--out docs/results/metric_storage.json]

Both get the same points in the same batches, one durable transaction per batch, on SQLite (synchronous FULL) and on
PostgreSQL (fsync on; the rows by COPY), and answer the same question: a chart of 1,000 points with exact extremes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Column

from benchmarks.service.stores import postgres
from store import database, metrics
from store.dialect import insert
from store.states import State
from store.tables import metadata as store_tables
from store.tables import runs, users

KEYS = 10
LEVELS = (10, 100, 1000)
CHART_POINTS = 1000
READS = 20

own_tables = sa.MetaData()
rows = sa.Table(
    "bench_rows",
    own_tables,
    Column("run", sa.Integer, primary_key=True),
    Column("key", sa.String(120), primary_key=True),
    Column("step", sa.BigInteger, primary_key=True, autoincrement=False),
    Column("value", sa.Double),
    sqlite_with_rowid=False,
)
rollups = sa.Table(
    "bench_rollups",
    own_tables,
    Column("run", sa.Integer, primary_key=True),
    Column("key", sa.String(120), primary_key=True),
    Column("level", sa.Integer, primary_key=True),
    Column("bucket", sa.BigInteger, primary_key=True, autoincrement=False),
    Column("low", sa.Double),
    Column("low_step", sa.BigInteger),
    Column("high", sa.Double),
    Column("high_step", sa.BigInteger),
    sqlite_with_rowid=False,
)


class Chunks:
    """What store.metrics does."""

    tables = ("chunks", "series")

    def append(self, connection: sa.Connection, number: int, points: metrics.Points) -> None:
        metrics.append(connection, number, points)

    def chart(self, engine: sa.Engine, number: int) -> int:
        (series,) = metrics.read(engine, f"r_{number}", ["k0"], CHART_POINTS)
        return len(series.steps)


class Rows:
    """One row per point; every batch merges its points into the rollups."""

    tables = ("bench_rows", "bench_rollups")

    def __init__(self) -> None:
        self.newest: dict[tuple[int, str], int] = {}  # kept for nothing, where the chunks read it from the database

    def append(self, connection: sa.Connection, number: int, points: metrics.Points) -> None:
        fresh = {}
        for key, (steps, values) in points.items():
            after = np.searchsorted(np.asarray(steps), self.newest.get((number, key), -1), side="right")
            fresh[key] = (np.asarray(steps)[after:], np.asarray(values)[after:])
            self.newest[number, key] = int(steps[-1])
        plain = [
            (number, k, s, v) for k, (ss, vs) in fresh.items() for s, v in zip(ss.tolist(), vs.tolist(), strict=True)
        ]
        if connection.dialect.name == "postgresql":
            cursor: Any = connection.connection.cursor()
            with cursor.copy("COPY bench_rows (run, key, step, value) FROM STDIN") as copy:
                for row in plain:
                    copy.write_row(row)
        else:
            connection.exec_driver_sql(
                "INSERT OR IGNORE INTO bench_rows (run, key, step, value) VALUES (?,?,?,?)", plain
            )
        merged = [bucket for key, arrays in fresh.items() for bucket in _buckets(number, key, *arrays)]
        new = insert(connection, rollups)
        low, high = new.excluded.low, new.excluded.high
        lower, higher = low < rollups.c.low, high > rollups.c.high
        changes = {
            "low": sa.case((lower, low), else_=rollups.c.low),
            "low_step": sa.case((lower, new.excluded.low_step), else_=rollups.c.low_step),
            "high": sa.case((higher, high), else_=rollups.c.high),
            "high_step": sa.case((higher, new.excluded.high_step), else_=rollups.c.high_step),
        }
        connection.execute(
            new.on_conflict_do_update(index_elements=["run", "key", "level", "bucket"], set_=changes), merged
        )

    def chart(self, engine: sa.Engine, number: int) -> int:
        """The finest level with no more than half of CHART_POINTS buckets, as two points each."""
        steps = self.newest[number, "k0"] + 1
        level = next((level for level in LEVELS if steps / level <= CHART_POINTS), LEVELS[-1])
        query = sa.select(rollups.c.low, rollups.c.low_step, rollups.c.high, rollups.c.high_step)
        query = query.where(rollups.c.run == number, rollups.c.key == "k0", rollups.c.level == level)
        with database.read(engine) as connection:
            found = connection.execute(query.order_by(rollups.c.bucket)).all()
        points = {point for row in found for point in ((row.low_step, row.low), (row.high_step, row.high))}
        return len(sorted(points))


def _buckets(number: int, key: str, steps: Any, values: Any) -> list[dict[str, Any]]:
    made = []
    for level in LEVELS:
        bucket = steps // level
        starts = np.flatnonzero(np.diff(bucket, prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(steps)], strict=True):
            part = values[start:end]
            low, high = start + int(part.argmin()), start + int(part.argmax())
            made.append(
                {
                    "run": number,
                    "key": key,
                    "level": level,
                    "bucket": int(bucket[start]),
                    "low": float(values[low]),
                    "low_step": int(steps[low]),
                    "high": float(values[high]),
                    "high_step": int(steps[high]),
                }
            )
    return made


def measure(engine: sa.Engine, storage: Chunks | Rows, points: int, chart: int, first_run: int) -> dict[str, Any]:
    """Points per second in flushes of 100 and 1,000 points, the time of a chart and the bytes per point."""
    rng = np.random.default_rng(0)
    figures: dict[str, Any] = {}
    for number, per_flush in ((first_run, 10), (first_run + 1, 100)):
        count = points // (10 if per_flush == 10 else 1)  # small flushes are slow and tell the same with fewer
        figures[f"ingest_points_per_s_flush_{per_flush * KEYS}"] = round(
            _fill(engine, storage, number, count // KEYS, per_flush, KEYS, rng)
        )
    before = _size(engine, storage)
    figures["ingest_points_per_s_flush_10000"] = round(_fill(engine, storage, first_run + 2, chart, 10_000, 1, rng))
    figures["bytes_per_point"] = round((_size(engine, storage) - before) / chart, 1)
    times = []
    for _ in range(READS):
        start = time.perf_counter()
        storage.chart(engine, first_run + 2)
        times.append(1000 * (time.perf_counter() - start))
    figures["chart_p50_ms"], figures["chart_p95_ms"] = (round(float(np.percentile(times, p)), 1) for p in (50, 95))
    return figures


def _fill(
    engine: sa.Engine,
    storage: Chunks | Rows,
    number: int,
    steps: int,
    per_flush: int,
    keys: int,
    rng: np.random.Generator,
) -> float:
    values = rng.normal(size=(keys, steps))
    start = time.perf_counter()
    for first in range(0, steps, per_flush):
        span = range(first, min(first + per_flush, steps))
        batch = {f"k{key}": (span, values[key, span.start : span.stop].tolist()) for key in range(keys)}
        with database.write(engine) as connection:
            storage.append(connection, number, batch)
    return steps * keys / (time.perf_counter() - start)


def _size(engine: sa.Engine, storage: Chunks | Rows) -> int:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if connection.dialect.name == "postgresql":
            sizes = [
                connection.exec_driver_sql(f"SELECT pg_total_relation_size('{table}')") for table in storage.tables
            ]
            return sum(result.scalar_one() for result in sizes)
        page_count, free, size = (
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((page_count - free) * size)


def prepare(engine: sa.Engine) -> None:
    """Tables and the runs that the points belong to."""
    database.migrate(engine)
    with database.write(engine) as connection:
        own_tables.create_all(connection)
        connection.execute(sa.insert(users).values(id="u", name="u", role="admin", created_at=0))
        blank = {"owner_id": "u", "name": "", "kind": "train", "store_kind": "none", "seed": 0, "config": {}}
        blank |= {"config_hash": "", "schema_version": 1, "state": State.queued, "state_since": 0}
        blank |= {"created_at": 0, "updated_at": 0}
        connection.execute(sa.insert(runs), [blank | {"number": n, "id": f"r_{n}"} for n in range(1, 10)])
    assert store_tables.tables.keys() >= {"chunks", "series"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=200_000)
    parser.add_argument("--chart", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=Path("docs/results/metric_storage.json"))
    options = parser.parse_args()
    report: dict[str, Any] = {
        "command": f"python -m benchmarks.metric_storage --points {options.points} --chart {options.chart}",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "load_at_start": os.getloadavg()[0],
        "seed": 0,
    }
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        report |= {"sqlite": run_all(f"sqlite:///{folder}/bench.db", options)}
    report |= {"postgresql": with_postgres(options)}
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


def run_all(url: str, options: argparse.Namespace) -> dict[str, Any]:
    engine = database.connect(url)
    prepare(engine)
    figures = {
        "chunks": measure(engine, Chunks(), options.points, options.chart, 1),
        "rows": measure(engine, Rows(), options.points, options.chart, 4),
    }
    engine.dispose()
    return figures


def with_postgres(options: argparse.Namespace) -> dict[str, Any]:
    with postgres() as url:
        return run_all(url, options)


if __name__ == "__main__":
    main()
