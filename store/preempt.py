"""Runs of the low band that make way, where the setting allows it: with a checkpoint, back to the queue."""

from __future__ import annotations

import time

import sqlalchemy as sa

from store.accounts import read_accounts
from store.claims import READY
from store.database import write
from store.policy import BANDS
from store.settings import Settings
from store.states import LEASED, State
from store.tables import attempts, runs, workers

LOW = BANDS["low"]


def make_way(engine: sa.Engine, settings: Settings, *, now: float | None = None) -> list[str]:
    """Asks as many runs of the low band to stop as runs of higher bands wait for a slot that they may use: those that have
    been at work for ``settings.preempt_after_s``, the newest first. Their ids. Nothing where that is 0."""
    now = time.time() if now is None else now
    if not settings.preempt_after_s:
        return []
    with write(engine) as connection:
        accounts = read_accounts(connection, settings.policy, now)
        columns = sa.select(runs.c.owner_id, runs.c.pool)
        waiting = connection.execute(columns.where(READY, runs.c.band < LOW).order_by(runs.c.band, runs.c.number)).all()
        pools = [row.pool for row in waiting if not accounts[row.owner_id].is_at_limit]
        asked = []
        for number, run_id, labels in _candidates(connection, settings, now) if pools else ():
            pool = next((pool for pool in pools if not pool or pool in labels), None)
            if pool is None:
                continue
            pools.remove(pool)
            connection.execute(sa.update(runs).where(runs.c.number == number).values(preempted=runs.c.epoch))
            asked.append(run_id)
        return asked


def _candidates(connection: sa.Connection, settings: Settings, now: float) -> list[tuple[int, str, list[str]]]:
    """(number, id, labels of its worker) of runs that may be asked, on workers without a free slot, less those that have
    been asked for each worker and are still there."""
    held = (
        sa.select(
            runs.c.number, runs.c.id, runs.c.band, runs.c.state, runs.c.epoch, runs.c.preempted, attempts.c.started_at
        )
        .add_columns(workers.c.id.label("worker"), workers.c.slots, workers.c.pools)
        .join(attempts, sa.and_(attempts.c.run == runs.c.number, attempts.c.epoch == runs.c.epoch))
        .join(workers, workers.c.id == runs.c.worker_id)
        .where(runs.c.state.in_(LEASED), workers.c.drained_at.is_(None))
        .order_by(attempts.c.started_at.desc(), runs.c.number)
    )
    rows = connection.execute(held).all()
    full = {row.worker for row in rows if sum(other.worker == row.worker for other in rows) >= row.slots}
    leaving = {row.worker for row in rows if row.preempted == row.epoch}  # wait until these have made way
    return [
        (row.number, row.id, row.pools.split())
        for row in rows
        if row.worker in full - leaving
        and row.band == LOW
        and row.state == State.running
        and row.started_at <= now - settings.preempt_after_s
    ]
