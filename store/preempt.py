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
        free, candidates = _workers(connection, settings, now) if pools else ([], [])
        for labels in free:
            _serve(pools, labels)
        asked = []
        for number, run_id, labels in candidates:
            if not _serve(pools, labels):
                continue
            connection.execute(sa.update(runs).where(runs.c.number == number).values(preempted=runs.c.epoch))
            asked.append(run_id)
        return asked


def _serve(pools: list[str], labels: list[str]) -> bool:
    """Whether a slot with these labels serves one of the runs that wait, by the pools they ask for; that one is taken out."""
    pool = next((pool for pool in pools if not pool or pool in labels), None)
    if pool is None:
        return False
    pools.remove(pool)
    return True


def _workers(
    connection: sa.Connection, settings: Settings, now: float
) -> tuple[list[list[str]], list[tuple[int, str, list[str]]]]:
    """(labels of every slot that is free or about to be, (number, id, labels) of every run that may be asked)."""
    held = (
        sa.select(runs.c.number, runs.c.id, runs.c.band, runs.c.state, runs.c.worker_id, attempts.c.started_at)
        .add_columns((runs.c.preempted == runs.c.epoch).label("is_leaving"))
        .join(attempts, sa.and_(attempts.c.run == runs.c.number, attempts.c.epoch == runs.c.epoch))
        .where(runs.c.state.in_(LEASED))
        .order_by(attempts.c.started_at.desc(), runs.c.number)
    )
    rows = connection.execute(held).all()
    free: list[list[str]] = []
    labels: dict[str, list[str]] = {}
    alive = sa.select(workers).where(workers.c.seen_at >= now - settings.lease_s, workers.c.drained_at.is_(None))
    for worker in connection.execute(alive):
        labels[worker.id] = worker.pools.split()
        staying = sum(row.worker_id == worker.id and not row.is_leaving for row in rows)
        free += [labels[worker.id]] * (worker.slots - staying)
    may_go = [row for row in rows if row.band == LOW and row.state == State.running and not row.is_leaving]
    return free, [
        (row.number, row.id, labels[row.worker_id])
        for row in may_go
        if row.worker_id in labels and row.started_at <= now - settings.preempt_after_s
    ]
