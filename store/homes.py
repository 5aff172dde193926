"""Where a run that needs several devices will start, and what is kept free for it there.

Runs on one device would take every device that becomes free before two ever are. So the first run in the order of the queue
that needs several and doesn't fit yet keeps devices: on the worker where most of those that it needs have room already, no
run behind it starts on them. What is kept only becomes freer, and so it starts once what ran there before has ended. Runs
before it in the order may still take them, so the policy's bound on overtaking is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from store.devices import Seen, is_gpu, seen
from store.states import LEASED
from store.tables import runs, workers
from store.workers import takes


@dataclass(frozen=True)
class Home:
    """Devices of one worker that a run will have; ``free`` of them have room for it now."""

    worker: str
    uids: frozenset[str]
    free: int


class Homes:
    """The devices of live workers that aren't drained. A run is a row with number, gpus, pool, need, gpu_need and is_guess."""

    def __init__(self, connection: sa.Connection, lease_s: float, now: float) -> None:
        known = seen(connection)
        alive = connection.execute(sa.select(workers.c.id, workers.c.pools).where(takes(lease_s, now)))
        held = sa.select(runs.c.number, runs.c.device).where(runs.c.state.in_(LEASED), runs.c.device.is_not(None))
        self._held: dict[str, list[int]] = {}
        for number, uids in connection.execute(held):
            for uid in uids.split():
                self._held.setdefault(uid, []).append(number)
        self._workers = [(row.id, row.pools.split(), known.get(row.id, ())) for row in alive.all()]

    def most(self, pool: str) -> int:
        """Devices of the worker that has most, among those with this label."""
        return max((len(found) for _, pools, found in self._workers if not pool or pool in pools), default=0)

    def of(self, run: Any) -> Home | None:
        """None where no worker can ever take it."""
        best: tuple[Any, ...] = ()
        home = None
        for worker, pools, found in sorted(self._workers):
            fitting = [(self._rank(device, run), device.uid) for device in found if _suits(device, run)]
            chosen = sorted(fitting, reverse=True)[: run.gpus]
            if len(chosen) < run.gpus or (run.pool and run.pool not in pools):
                continue
            rank = tuple(sum(each) for each in zip(*(rank for rank, _ in chosen), strict=True))
            if rank > best:
                best, home = rank, Home(worker, frozenset(uid for _, uid in chosen), int(rank[0]))
        return home

    def _rank(self, device: Seen, run: Any) -> tuple[int, int, float]:
        """What the best have most of: room, no runs behind this one (so that the choice lasts), free memory."""
        room = _room(device, run)
        behind = sum(number > run.number for number in self._held.get(device.uid, ()))
        return int(room >= _need(device, run)), -behind, room


def _suits(device: Seen, run: Any) -> bool:
    return bool(run.is_guess or not device.memory_bytes or device.memory_bytes >= _need(device, run))


def _need(device: Seen, run: Any) -> int:
    need: int = run.gpu_need if is_gpu(device) else run.need
    return need


def _room(device: Seen, run: Any) -> float:
    """Bytes free for the run; an empty device has room for any guess."""
    if not device.memory_bytes or (run.is_guess and not device.runs):
        return math.inf
    return device.memory_bytes - device.reserved_bytes
