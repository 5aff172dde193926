"""Workers that announced themselves."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from store import audit
from store.database import head, read, version_seen, write
from store.devices import Device, Seen, announce, seen
from store.dialect import insert
from store.errors import NotFound
from store.states import LEASED
from store.tables import runs, workers
from store.text import clean

FORGET_S = 7 * 86_400
_IS_ABLE = workers.c.unable == ""


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
    schema: str  # revision that its code needs
    devices: tuple[Seen, ...]
    outdated: bool  # another than the database has: it takes nothing
    drained_at: float | None  # since when it takes nothing new
    unable: str  # why it takes nothing, though it isn't drained; empty where it does
    started_at: float
    seen_at: float
    alive: bool
    runs: tuple[str, ...]

    @property
    def is_taking(self) -> bool:
        """Whether it takes runs, where it has a slot free (``takes`` is the same for queries)."""
        return self.alive and self.drained_at is None and not self.outdated and not self.unable


def register(
    engine: sa.Engine,
    worker_id: str,
    host: str,
    pid: int,
    slots: int,
    device: str,
    version: str,
    pools: tuple[str, ...] = (),
    devices: Sequence[Device] = (),
    unable: str = "",
    *,
    now: float | None = None,
) -> None:
    """Announces a worker, or again after a restart under the same id; one that was drained stays so."""
    now = time.time() if now is None else now
    values = {"host": host, "pid": pid, "slots": slots, "device": device, "version": version}
    values |= {"pools": " ".join(pools), "schema": head(), "started_at": now, "seen_at": now}
    values["unable"] = clean(unable, 300)
    with write(engine) as connection:
        statement = insert(connection, workers).values(id=worker_id, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))
        announce(connection, worker_id, devices)
        connection.execute(sa.delete(workers).where(workers.c.seen_at < now - FORGET_S))


def beat(
    engine: sa.Engine,
    worker_id: str,
    devices: Sequence[Device] | None = None,
    unable: str = "",
    *,
    now: float | None = None,
) -> None:
    """``devices`` as they are now, None for no change; ``unable`` says why it takes nothing. Raises NotFound for a worker that
    must register again."""
    now = time.time() if now is None else now
    with write(engine) as connection:
        values = {"seen_at": now, "unable": clean(unable, 300)}
        found = connection.execute(sa.update(workers).where(workers.c.id == worker_id).values(values))
        if found.rowcount == 0:
            raise NotFound(f"no worker {worker_id!r}; register it first")
        if devices is not None:
            announce(connection, worker_id, devices)


def drain(
    engine: sa.Engine, worker_id: str, is_drained: bool, *, by: str | None = None, now: float | None = None
) -> Worker:
    """A drained worker takes nothing new and, with its next heartbeats, gives its runs back with a checkpoint.

    ``by`` is the id of the user who asks. Asking again changes nothing. Raises NotFound.
    """
    now = time.time() if now is None else now
    with write(engine) as connection:
        row = connection.execute(
            sa.select(workers).where(workers.c.id == clean(worker_id, 120)).with_for_update()
        ).first()
        if row is None:
            raise NotFound(f"no worker {worker_id[:120]!r}; `laser worker list` names them all")
        if is_drained != (row.drained_at is not None):
            drained_at = now if is_drained else None
            connection.execute(sa.update(workers).where(workers.c.id == row.id).values(drained_at=drained_at))
            audit.record(connection, by, "worker.drain" if is_drained else "worker.undrain", row.id, now)
    return next(worker for worker in list_workers(engine, now=now) if worker.id == row.id)


def takes(lease_s: float, now: float) -> sa.ColumnElement[bool]:
    """The condition on workers that take runs."""
    return sa.and_(_would_take(lease_s, now), _IS_ABLE, workers.c.schema == head())


def why_unable(connection: sa.Connection, lease_s: float, now: float) -> dict[str, str]:
    """A worker that would take runs and isn't able to, and why, by label; "" for all."""
    found: dict[str, str] = {}
    is_not = sa.or_(sa.not_(_IS_ABLE), workers.c.schema != head())
    for worker in connection.execute(
        sa.select(workers).where(_would_take(lease_s, now), is_not).order_by(workers.c.id)
    ):
        for label in ("", *worker.pools.split()):
            found.setdefault(label, f"{worker.id} has {worker.unable or 'another version than the database'}")
    return found


def _would_take(lease_s: float, now: float) -> sa.ColumnElement[bool]:
    return sa.and_(workers.c.seen_at >= now - lease_s, workers.c.drained_at.is_(None))


def is_drained(connection: sa.Connection, worker_id: str) -> bool:
    """False for one that hasn't announced itself yet."""
    query = sa.select(workers.c.drained_at).where(workers.c.id == worker_id)
    return connection.execute(query).scalar() is not None


def list_workers(engine: sa.Engine, alive_s: float = 30, *, now: float | None = None) -> list[Worker]:
    """Newest beat first; ``alive`` are those heard of within ``alive_s``. One silent for a week is forgotten."""
    now = time.time() if now is None else now
    held: dict[str, list[str]] = {}
    with read(engine) as connection:
        busy = sa.select(runs.c.worker_id, runs.c.id).where(runs.c.state.in_(LEASED)).order_by(runs.c.number)
        for worker_id, run_id in connection.execute(busy):
            held.setdefault(worker_id, []).append(run_id)
        rows = connection.execute(sa.select(workers).order_by(workers.c.seen_at.desc(), workers.c.id)).all()
        schema = version_seen(connection)
        known = seen(connection)
    return [
        Worker(
            **dict(row._mapping) | {"pools": tuple(row.pools.split())},
            alive=row.seen_at >= now - alive_s,
            devices=known.get(row.id, ()),
            outdated=row.schema != schema,
            runs=tuple(held.get(row.id, ())),
        )
        for row in rows
    ]
