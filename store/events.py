"""A run's event log: append-only, numbered from 1 per run without gaps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from store.database import read
from store.runs import number_of
from store.tables import events

KINDS = ("state", "started", "log", "checkpoint", "metrics", "traces", "memory", "file", "result")


@dataclass(frozen=True)
class StoredEvent:
    """``kind`` is one of KINDS. "metrics" and "traces" only ring: their data is ``{"step": newest}``."""

    seq: int
    time: float
    kind: str
    epoch: int
    data: dict[str, Any]


def after(
    engine: sa.Engine, run_id: str, after: int = 0, limit: int = 500, *, kind: str | None = None
) -> list[StoredEvent]:
    """Events with a sequence number above ``after``, oldest first; those of one kind if asked. Raises NotFound."""
    with read(engine) as connection:
        number = number_of(connection, run_id)
        query = sa.select(events).where(events.c.run == number, events.c.seq > after)
        if kind is not None:
            query = query.where(events.c.kind == kind)
        return [_stored(row) for row in connection.execute(query.order_by(events.c.seq).limit(limit))]


def newest(engine: sa.Engine, run_id: str, kind: str, count: int = 1) -> list[StoredEvent]:
    """The last ``count`` events of a kind, oldest first. Raises NotFound."""
    with read(engine) as connection:
        query = sa.select(events).where(events.c.run == number_of(connection, run_id), events.c.kind == kind)
        rows = connection.execute(query.order_by(events.c.seq.desc()).limit(count)).all()
        return [_stored(row) for row in reversed(rows)]


def _stored(row: sa.Row[Any]) -> StoredEvent:
    return StoredEvent(row.seq, row.time, row.kind, row.epoch, row.data)
