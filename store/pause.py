"""Pausing a run and letting it go on."""

from __future__ import annotations

import time

import sqlalchemy as sa

from store import audit
from store.database import write
from store.errors import Conflict
from store.runs import Run, load, lock, said_by
from store.states import FINAL, State, move


def request_pause(engine: sa.Engine, run_id: str, *, by: str | None = None, now: float | None = None) -> Run:
    """Pauses at once what no worker holds; otherwise asks the worker with its next beat. Asking again changes nothing.

    ``by`` is the id of the user who asks. Raises NotFound, and Conflict for a run that has ended or is being cancelled.
    """
    now = time.time() if now is None else now
    with write(engine) as connection:
        row = lock(connection, run_id)
        state = State(row.state)
        if state in FINAL or state == State.cancelling:
            raise Conflict(f"run {run_id} is {state}; only a run that waits or is carried out can be paused")
        if state not in (State.pausing, State.paused):
            target = State.paused if state == State.queued else State.pausing
            reason = said_by(connection, "paused", row.owner_id, by)
            move(connection, row.number, row.epoch, state, target, reason, now)
            if by is not None:
                audit.record(connection, by, "run.pause", run_id, now, f"was {state}, of {row.owner_id}")
        return load(connection, [row.number])[0]


def resume(engine: sa.Engine, run_id: str, *, by: str | None = None, now: float | None = None) -> tuple[Run, bool]:
    """(the run, whether this put it back in the queue, where it goes on from its checkpoint). Asking again changes nothing.

    ``by`` is the id of the user who asks. Raises NotFound, and Conflict for a run that isn't paused and doesn't go on.
    """
    now = time.time() if now is None else now
    with write(engine) as connection:
        row = lock(connection, run_id)
        state = State(row.state)
        if state == State.pausing:
            raise Conflict(f"run {run_id} is still pausing; resume it once it is paused, in a few seconds")
        if state in FINAL or state == State.cancelling:
            raise Conflict(f"run {run_id} is {state}; only a paused run can be resumed")
        if state == State.paused:
            reason = said_by(connection, "resumed", row.owner_id, by)
            move(connection, row.number, row.epoch, state, State.queued, reason, now)
            if by is not None:
                audit.record(connection, by, "run.resume", run_id, now, f"of {row.owner_id}")
        return load(connection, [row.number])[0], state == State.paused
