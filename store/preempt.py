"""Runs of the low band that make way, where the setting allows it: with a checkpoint, back to the queue."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from store.accounts import read_accounts
from store.claims import IS_LEAVING, IS_LIGHT, READY
from store.database import write
from store.devices import GPU_NEED, IS_GUESS, NEED, Seen, is_gpu, seen
from store.policy import BANDS
from store.settings import Settings
from store.states import LEASED, State
from store.tables import attempts, runs, workers

LOW = BANDS["low"]


def make_way(engine: sa.Engine, settings: Settings, *, now: float | None = None) -> list[str]:
    """Asks as many runs of the low band to stop as runs of higher bands need, which wait for a slot and memory that they may
    use: those that have been at work for ``settings.preempt_after_s``, the newest first. Their ids. Nothing where that is 0,
    and nobody whose going would not be enough."""
    now = time.time() if now is None else now
    if not settings.preempt_after_s:
        return []
    with write(engine) as connection:
        accounts = read_accounts(connection, settings.policy, now)
        columns = (
            runs.c.owner_id,
            runs.c.pool,
            NEED.label("need"),
            GPU_NEED.label("gpu_need"),
            IS_GUESS.label("is_guess"),
            sa.case((IS_LIGHT, 0), else_=1).label("seats"),  # there is always one for an inspection
        )
        query = sa.select(*columns).where(READY, runs.c.band < LOW).order_by(runs.c.band, runs.c.number)
        waiting = [row for row in connection.execute(query) if not accounts[row.owner_id].is_at_limit]
        places = _places(connection, settings, now) if waiting else []
        asked = [run for row in waiting for run in _serve(places, row)]
        leave = sa.update(runs).where(runs.c.number.in_([run.number for run in asked]))
        connection.execute(leave.values(preempted=runs.c.epoch))
        return [run.id for run in asked]


@dataclass
class _Place:
    """A worker as it will be once all that were asked to leave are gone. ``free`` is the memory of its devices by uid,
    ``may_go`` its runs that may be asked, the newest first."""

    labels: list[str]
    seats: int
    devices: dict[str, Seen]
    free: dict[str, float]
    may_go: list[Any]


def _serve(places: Iterable[_Place], waiting: sa.Row[Any]) -> list[sa.Row[Any]]:
    """Finds room for a run: the fewest that must go for it, who are gone then. None where there is room, or never will be."""
    found: list[tuple[list[sa.Row[Any]], _Place, str, float]] = []
    for place in places:
        if waiting.pool and waiting.pool not in place.labels:
            continue
        for uid, device in place.devices.items():
            need = waiting.gpu_need if is_gpu(device) else waiting.need
            if waiting.is_guess and device.memory_bytes:  # one that is more than a whole device gets one to itself
                need = min(need, device.memory_bytes)
            if (going := _going(place, uid, need, waiting.seats)) is not None:
                found.append((going, place, uid, need))
    if not found:
        return []
    going, place, uid, need = min(found, key=lambda each: len(each[0]))
    for run in going:
        place.may_go.remove(run)
        place.seats += 1
        if run.device in place.free:
            place.free[run.device] += run.memory_held or 0
    place.seats -= waiting.seats
    place.free[uid] -= need
    return going


def _going(place: _Place, uid: str, need: float, wanted: int) -> list[sa.Row[Any]] | None:
    """Who must go for ``wanted`` seats, and for ``need`` bytes of a device; None where all of them are not enough."""
    going: list[sa.Row[Any]] = []
    seats, free = place.seats, place.free[uid]
    for run in place.may_go:
        if seats >= wanted and free >= need:
            break
        if free >= need or run.device == uid:
            going.append(run)
            seats += 1
            free += (run.memory_held or 0) if run.device == uid else 0
    return going if seats >= wanted and free >= need else None


def _places(connection: sa.Connection, settings: Settings, now: float) -> list[_Place]:
    held = (
        sa.select(
            runs.c.number, runs.c.id, runs.c.band, runs.c.state, runs.c.worker_id, runs.c.device, runs.c.memory_held
        )
        .add_columns(attempts.c.started_at, IS_LEAVING.label("is_leaving"), IS_LIGHT.label("is_light"))
        .join(attempts, sa.and_(attempts.c.run == runs.c.number, attempts.c.epoch == runs.c.epoch))
        .where(runs.c.state.in_(LEASED))
        .order_by(attempts.c.started_at.desc(), runs.c.number)
    )
    rows = connection.execute(held).all()
    leaving: dict[str, int] = {}
    for row in rows:
        if row.is_leaving:
            leaving[row.device] = leaving.get(row.device, 0) + (row.memory_held or 0)
    known = seen(connection)
    alive = sa.select(workers).where(workers.c.seen_at >= now - settings.lease_s, workers.c.drained_at.is_(None))
    places = []
    for worker in connection.execute(alive):
        mine = [row for row in rows if row.worker_id == worker.id and not row.is_leaving]
        devices = {device.uid: device for device in known.get(worker.id, ())} or {"": _UNKNOWN}
        free = {
            uid: device.memory_bytes - device.reserved_bytes + leaving.get(uid, 0) if device.memory_bytes else math.inf
            for uid, device in devices.items()
        }
        may_go = [
            row
            for row in mine
            if row.band == LOW and row.state == State.running and row.started_at <= now - settings.preempt_after_s
        ]
        places.append(
            _Place(worker.pools.split(), worker.slots - sum(not row.is_light for row in mine), devices, free, may_go)
        )
    return places


_UNKNOWN = Seen("", "", 0, 0, 0, 0)  # of a worker that names no devices
