"""Run states as data, and the one function that changes a state."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from store.errors import Conflict, Superseded
from store.tables import attempts, events, happenings, runs, webhooks


class State(StrEnum):
    queued = "queued"
    starting = "starting"
    running = "running"
    pausing = "pausing"
    paused = "paused"
    cancelling = "cancelling"
    cancelled = "cancelled"
    succeeded = "succeeded"
    failed = "failed"


FINAL = frozenset({State.succeeded, State.failed, State.cancelled})
LEASED = frozenset({State.starting, State.running, State.pausing, State.cancelling})  # in a worker's hands
RELEASED = {
    State.cancelling: State.cancelled,
    State.pausing: State.paused,
}  # where a run goes from there, else to the queue

# A run that ended before its worker heard of the cancel or pause keeps its true ending.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.queued: frozenset({State.starting, State.paused, State.cancelled, State.failed}),
    State.starting: frozenset({State.running, State.queued, State.cancelling, State.pausing, State.failed}),
    State.running: frozenset({State.succeeded, State.failed, State.queued, State.cancelling, State.pausing}),
    State.pausing: frozenset({State.paused, State.queued, State.cancelling, State.succeeded, State.failed}),
    State.paused: frozenset({State.queued, State.cancelled, State.failed}),
    State.cancelling: frozenset({State.cancelled, State.succeeded, State.failed}),
    State.succeeded: frozenset(),
    State.failed: frozenset(),
    State.cancelled: frozenset(),
}

# No state but a final one lasts for ever, even under a worker that beats on. Running is bounded by the lease alone.
TIMEOUT_S: dict[State, float] = {
    State.queued: 30 * 86_400,
    State.starting: 600,
    State.pausing: 300,
    State.paused: 365 * 86_400,
    State.cancelling: 120,
}


def move(
    connection: sa.Connection,
    number: int,
    epoch: int,
    source: State,
    target: State,
    reason: str,
    now: float,
    /,
    **also: Any,
) -> None:
    """Moves a run from ``source`` to ``target``, sets the columns in ``also``, and appends the "state" event.

    Raises Conflict where the table has no such transition, Superseded when the run is no longer at ``source``, ``epoch``.
    """
    if target not in TRANSITIONS[source]:
        raise Conflict(f"a run that is {source} can't become {target}")
    if target not in LEASED:
        also |= {"lease_until": None, "worker_id": None}
    if target in FINAL:
        also |= {"finished_at": now}
    row = connection.execute(
        sa.update(runs)
        .where(runs.c.number == number, runs.c.epoch == epoch, runs.c.state == source)
        .values(state=target, state_since=now, reason=reason, updated_at=now, last_seq=runs.c.last_seq + 1, **also)
        .returning(runs.c.last_seq, runs.c.epoch)
    ).one_or_none()
    if row is None:
        raise Superseded(f"the run is no longer {source} in epoch {epoch}")
    data = {"state": str(target), "from": str(source), "reason": reason}
    connection.execute(
        sa.insert(events).values(run=number, seq=row.last_seq, time=now, kind="state", epoch=row.epoch, data=data)
    )
    if source in LEASED and target not in LEASED:
        connection.execute(
            sa.update(attempts)
            .where(attempts.c.run == number, attempts.c.epoch == epoch)
            .values(ended_at=now, outcome=f"{target}: {reason}" if reason else str(target))
        )
    if target in FINAL or "lost" in also:
        _tell(connection, number, f"run.{target}" if target in FINAL else "run.lost", now, reason)


def _tell(connection: sa.Connection, number: int, event: str, now: float, reason: str) -> None:
    """Notes for ``store.outbox`` what became of a run, where its owner has a webhook."""
    heard = sa.exists().where(
        runs.c.number == number, webhooks.c.owner_id == runs.c.owner_id, webhooks.c.disabled_at.is_(None)
    )
    columns = {"run": number, "event": event, "time": now, "reason": reason}
    noted = sa.select(*(sa.literal(value, happenings.c[name].type) for name, value in columns.items())).where(heard)
    connection.execute(sa.insert(happenings).from_select(list(columns), noted))
