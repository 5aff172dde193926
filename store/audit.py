"""The audit log: who did what to which object, and with what outcome. Append-only; secrets never come near it.

An entry is written in the transaction of what it tells of, so that there is neither a deed without its entry nor an entry
without its deed. A refusal has no transaction and gets its own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from store.database import read, write
from store.tables import audit, users
from store.text import clean

Action = Literal[
    "login",
    "login-link.create",
    "token.create",
    "token.revoke",
    "user.create",
    "user.role",
    "user.share",
    "user.disable",
    "user.enable",
    "run.cancel",
    "run.pause",
    "run.resume",
    "run.delete",
    "experiment.delete",
    "run.import",
    "webhook.create",
    "webhook.delete",
    "webhook.disable",
    "webhook.enable",
    "worker.drain",
    "worker.undrain",
    "change",
]
REFUSED_LOGINS_KEPT = 30  # of a minute
Outcome = Literal["done", "refused"]


@dataclass(frozen=True)
class Entry:
    """``user`` is the id of who did it, None for the platform itself; a refused "change" names its address as the object."""

    number: int
    time: float
    user: str | None
    user_name: str
    action: Action
    object_id: str
    outcome: Outcome
    detail: str


def record(
    connection: sa.Connection,
    user_id: str | None,
    action: Action,
    object_id: str,
    now: float,
    detail: str = "",
    outcome: Outcome = "done",
) -> None:
    """Writes an entry in the caller's transaction."""
    values = {"time": now, "user_id": user_id, "action": action, "outcome": outcome}
    values |= {"object_id": clean(object_id, 200), "detail": clean(detail, 500)}
    connection.execute(sa.insert(audit).values(values))


def refused(engine: sa.Engine, user_id: str, address: str, detail: str = "", *, now: float | None = None) -> None:
    """A change that ``user_id`` wasn't allowed to make at ``address``."""
    with write(engine) as connection:
        record(connection, user_id, "change", address, time.time() if now is None else now, detail, "refused")


def login_refused(engine: sa.Engine, how: str, detail: str, *, now: float | None = None) -> None:
    """A login that didn't work. Of many in a minute only the first are kept: nobody shall fill the disk by guessing."""
    now = time.time() if now is None else now
    newest = sa.select(audit.c.action, audit.c.outcome, audit.c.time).order_by(audit.c.number.desc())
    with write(engine) as connection:
        rows = connection.execute(newest.limit(2 * REFUSED_LOGINS_KEPT)).all()
        lately = [row for row in rows if (row.action, row.outcome) == ("login", "refused") and row.time > now - 60]
        if len(lately) < REFUSED_LOGINS_KEPT:
            record(connection, None, "login", how, now, detail, "refused")


def entries(engine: sa.Engine, before: int | None = None, limit: int = 50) -> list[Entry]:
    """Newest first; only those with a lower number than ``before``."""
    name = sa.func.coalesce(users.c.name, "").label("user_name")
    query = sa.select(audit, name).outerjoin(users, users.c.id == audit.c.user_id)
    if before is not None:
        query = query.where(audit.c.number < before)
    with read(engine) as connection:
        rows = connection.execute(query.order_by(audit.c.number.desc()).limit(limit)).all()
    same = [field for field in Entry.__dataclass_fields__ if field != "user"]
    return [Entry(user=row.user_id, **{field: getattr(row, field) for field in same}) for row in rows]
