"""The reconciler's round: what happens to runs whose worker fell silent or whose state has lasted too long."""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa

from store.database import read, write
from store.states import LEASED, TIMEOUT_S, State, move
from store.tables import runs
from store.waits import IN_VAIN, why_in_vain


def expire_leases(engine: sa.Engine, max_attempts: int = 3, *, now: float | None = None) -> list[str]:
    """Ids of the runs that this call took from silent workers, or ended because of a timeout.

    A lost run returns to the queue; after ``max_attempts`` workers lost since its last checkpoint it fails, as it may be
    what kills them. A run lost while it was being cancelled is cancelled.
    """
    query = sa.select(runs.c.number).where(_overdue(time.time() if now is None else now)).order_by(runs.c.number)
    with read(engine) as connection:
        numbers = connection.execute(query).scalars().all()
    return [run_id for number in numbers if (run_id := _expire(engine, number, max_attempts, now))]


def _overdue(now: float) -> sa.ColumnElement[bool]:
    silent = sa.and_(runs.c.state.in_(LEASED), runs.c.lease_until < now)
    too_long = [sa.and_(runs.c.state == s, runs.c.state_since < now - limit) for s, limit in TIMEOUT_S.items()]
    waits_in_vain = sa.and_(runs.c.state == State.queued, IN_VAIN)
    return sa.or_(silent, *too_long, waits_in_vain)


def _expire(engine: sa.Engine, number: int, max_attempts: int, now: float | None) -> str | None:
    """One run in a transaction of its own; None when it is no longer overdue."""
    with write(engine) as connection:
        now = time.time() if now is None else now
        query = sa.select(runs).where(runs.c.number == number, _overdue(now)).with_for_update(of=runs)
        row = connection.execute(query).one_or_none()
        if row is None:
            return None
        target, reason = _verdict(connection, row, max_attempts, now)
        lost = {"lost": row.lost + 1} if State(row.state) in LEASED else {}
        move(connection, number, row.epoch, State(row.state), target, reason, now, **lost)
        return str(row.id)


def _verdict(connection: sa.Connection, row: sa.Row[Any], max_attempts: int, now: float) -> tuple[State, str]:
    state = State(row.state)
    if state in (State.queued, State.paused):
        if now - row.state_since > TIMEOUT_S[state]:
            return State.failed, f"{state} for more than {TIMEOUT_S[state] / 86_400:g} days"
        return State.failed, why_in_vain(connection, row.number)
    silent = row.lease_until < now
    lost = f"worker {row.worker_id} was lost" if silent else f"still {state} after {TIMEOUT_S.get(state, 0):g} s"
    if state == State.cancelling:
        return State.cancelled, f"cancelled; {lost}"
    if state == State.pausing:
        return State.paused, f"paused; {lost}"
    where = f"{lost} at step {row.step} (attempt {row.epoch})"
    if row.lost + 1 >= max_attempts:
        return State.failed, f"{where}: {row.lost + 1} workers lost without a new checkpoint, so it isn't tried again"
    return State.queued, f"{where}; back in the queue"
