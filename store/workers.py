"""Workers that announced themselves."""

from __future__ import annotations

import time
from dataclasses import dataclass

import sqlalchemy as sa

from store.database import read, write
from store.dialect import insert
from store.errors import NotFound
from store.states import LEASED
from store.tables import runs, workers

FORGET_S = 7 * 86_400


@dataclass(frozen=True)
class Worker:
    """``runs`` are the ids in its hands; ``alive`` tells whether it was heard of lately."""

    id: str
    host: str
    pid: int
    slots: int
    device: str
    version: str
    pools: tuple[str, ...]  # its labels
    started_at: float
    seen_at: float
    alive: bool
    runs: tuple[str, ...]


def register(
    engine: sa.Engine,
    worker_id: str,
    host: str,
    pid: int,
    slots: int,
    device: str,
    version: str,
    pools: tuple[str, ...] = (),
    *,
    now: float | None = None,
) -> None:
    """Announces a worker, or again after a restart under the same id."""
    now = time.time() if now is None else now
    values = {"host": host, "pid": pid, "slots": slots, "device": device, "version": version}
    values |= {"pools": " ".join(pools), "started_at": now, "seen_at": now}
    with write(engine) as connection:
        statement = insert(connection, workers).values(id=worker_id, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))
        connection.execute(sa.delete(workers).where(workers.c.seen_at < now - FORGET_S))


def beat(engine: sa.Engine, worker_id: str, *, now: float | None = None) -> None:
    """Raises NotFound for a worker that must register again."""
    now = time.time() if now is None else now
    with write(engine) as connection:
        found = connection.execute(sa.update(workers).where(workers.c.id == worker_id).values(seen_at=now))
        if found.rowcount == 0:
            raise NotFound(f"no worker {worker_id!r}; register it first")


def list_workers(engine: sa.Engine, alive_s: float = 30, *, now: float | None = None) -> list[Worker]:
    """Newest beat first; ``alive`` are those heard of within ``alive_s``. One silent for a week is forgotten."""
    now = time.time() if now is None else now
    held: dict[str, list[str]] = {}
    with read(engine) as connection:
        busy = sa.select(runs.c.worker_id, runs.c.id).where(runs.c.state.in_(LEASED)).order_by(runs.c.number)
        for worker_id, run_id in connection.execute(busy):
            held.setdefault(worker_id, []).append(run_id)
        rows = connection.execute(sa.select(workers).order_by(workers.c.seen_at.desc(), workers.c.id)).all()
    return [
        Worker(
            **dict(row._mapping) | {"pools": tuple(row.pools.split())},
            alive=row.seen_at >= now - alive_s,
            runs=tuple(held.get(row.id, ())),
        )
        for row in rows
    ]
