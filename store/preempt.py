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
from store.homes import Home, Homes
from store.policy import BANDS
from store.settings import Settings
from store.states import LEASED, State
from store.tables import attempts, runs, workers
from store.workers import takes

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
            runs.c.number,
            runs.c.owner_id,
            runs.c.pool,
            runs.c.gpus,
            NEED.label("need"),
            GPU_NEED.label("gpu_need"),
            IS_GUESS.label("is_guess"),
            sa.case((IS_LIGHT, 0), else_=1).label("seats"),  # there is always one for an inspection
        )
        query = sa.select(*columns).where(READY, runs.c.band < LOW).order_by(runs.c.band, runs.c.number)
        waiting = [row for row in connection.execute(query) if not accounts[row.owner_id].is_at_limit]
        places = _places(connection, settings, now) if waiting else []
        homes = Homes(connection, settings.lease_s, now) if any(row.gpus > 1 for row in waiting) else None
        asked = [run for row in waiting for run in _serve(places, row, homes)]
        leave = sa.update(runs).where(runs.c.number.in_([run.number for run in asked]))
        connection.execute(leave.values(preempted=runs.c.epoch))
        return [run.id for run in asked]


@dataclass
class _Place:
    """A worker as it will be once all that were asked to leave are gone. ``free`` is the memory of its devices by uid,
    ``may_go`` its runs that may be asked, the newest first."""

    worker: str
    labels: list[str]
    seats: int
    devices: dict[str, Seen]
    free: dict[str, float]
    may_go: list[Any]


def _serve(places: Iterable[_Place], waiting: sa.Row[Any], homes: Homes | None) -> list[sa.Row[Any]]:
    """Finds room for a run: the fewest that must go for it, who are gone then. None where there is room, or never will be."""
    found: list[tuple[list[sa.Row[Any]], _Place, frozenset[str], float]] = []
    home = homes.of(waiting) if homes and waiting.gpus > 1 else None
    for place in places:
        if waiting.pool and waiting.pool not in place.labels:
            continue
        for uids in _choices(place, waiting, home):
            devices = [place.devices[uid] for uid in uids]
            need = waiting.gpu_need if any(map(is_gpu, devices)) else waiting.need
            sizes = [device.memory_bytes for device in devices]
            if waiting.is_guess and all(sizes):  # one that is more than a whole device gets one to itself
                need = min(need, *sizes)
            if (going := _going(place, uids, need, waiting.seats)) is not None:
                found.append((going, place, uids, need))
    if not found:
        return []
    going, place, uids, need = min(found, key=lambda each: len(each[0]))
    for run in going:
        place.may_go.remove(run)
        place.seats += 1
        for uid in _uids(run) & place.free.keys():
            place.free[uid] += run.memory_held or 0
    place.seats -= waiting.seats
    for uid in uids:
        place.free[uid] -= need
    return going


def _choices(place: _Place, waiting: sa.Row[Any], home: Home | None) -> list[frozenset[str]]:
    """The devices that a run may get at a place: any one; or those that are kept for it, where it needs several."""
    if waiting.gpus == 1:
        return [frozenset({uid}) for uid in place.devices]
    return [home.uids] if home and home.worker == place.worker else []


def _going(place: _Place, uids: frozenset[str], need: float, wanted: int) -> list[sa.Row[Any]] | None:
    """Who must go for ``wanted`` seats, and for ``need`` bytes of every device; None where all of them are not enough."""
    going: list[sa.Row[Any]] = []
    seats, free = place.seats, {uid: place.free[uid] for uid in uids}
    for run in place.may_go:
        short = {uid for uid, left in free.items() if left < need}
        if seats >= wanted and not short:
            break
        if not short or short & _uids(run):
            going.append(run)
            seats += 1
            for uid in _uids(run) & uids:
                free[uid] += run.memory_held or 0
    return going if seats >= wanted and min(free.values()) >= need else None


def _uids(run: sa.Row[Any]) -> set[str]:
    """The devices that it holds."""
    return set((run.device or "").split())


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
            for uid in _uids(row):
                leaving[uid] = leaving.get(uid, 0) + (row.memory_held or 0)
    known = seen(connection)
    alive = sa.select(workers).where(takes(settings.lease_s, now))
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
            _Place(
                worker.id,
                worker.pools.split(),
                worker.slots - sum(not row.is_light for row in mine),
                devices,
                free,
                may_go,
            )
        )
    return places


_UNKNOWN = Seen("", "", 0, 0, 0, 0)  # of a worker that names no devices
