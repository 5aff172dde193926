"""Devices, and how runs share one by memory.

A run reserves what it may need at its start; once it has got going, what it was measured to hold. A run that doesn't fit
into what is left anywhere is passed over by claims, and others aren't kept waiting for it; but see homes.py for runs that
need several devices.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from store.states import LEASED
from store.tables import devices, runs

MARGIN = 1.1  # reserved beyond the measured peak


@dataclass(frozen=True)
class Device:
    """Of one worker. ``memory_bytes`` is 0 where memory isn't accounted: then any number of runs fits."""

    uid: str  # the same for all workers that share it
    name: str
    memory_bytes: int = 0
    visible: str = ""  # for CUDA_VISIBLE_DEVICES; empty for the CPU
    used_bytes: int = 0  # by whomever, where the driver tells


@dataclass(frozen=True)
class Seen:
    """A device as the pool sees it."""

    uid: str
    name: str
    memory_bytes: int  # 0 where it isn't accounted
    used_bytes: int  # measured: by the driver, else by the runs on it
    reserved_bytes: int  # for the runs on it
    runs: int


# What a run reserves where it starts: one with a checkpoint has got going before.
NEED = sa.case(
    (sa.and_(runs.c.checkpoint.is_not(None), runs.c.memory_held.is_not(None)), runs.c.memory_held), else_=runs.c.memory
)
# Of no one's asking: it needn't be true.
IS_GUESS = sa.or_(runs.c.memory_asked.is_(None), runs.c.memory_grown)


# On a GPU a guess lacks the driver's context, the libraries' workspaces and what backward needs for a moment: so it is taken
# with room to spare, until the run was measured.
GPU_FACTOR, GPU_EXTRA = 2, 2**30
GPU_NEED = sa.case(
    (sa.and_(runs.c.checkpoint.is_not(None), runs.c.memory_held.is_not(None)), runs.c.memory_held),
    (IS_GUESS, GPU_FACTOR * runs.c.memory + GPU_EXTRA),
    else_=runs.c.memory,
)


def is_gpu(device: Seen) -> bool:
    """Whether what it needs is counted as on a GPU. Workers call their CPU slots "cpu"."""
    return device.name != "cpu"


class Room:
    """What is free on a worker's devices, which are either all GPUs or none."""

    def __init__(self, connection: sa.Connection, found: Sequence[Device]) -> None:
        taken = _taken(connection)
        self.need = GPU_NEED if any(device.visible for device in found) else NEED
        self._free: dict[Device, tuple[float, int]] = {}
        self._is_named = bool(found)
        for device in found:
            reserved, _, count = taken.get(device.uid, (0, 0, 0))
            free = device.memory_bytes - reserved if device.memory_bytes else math.inf
            self._free[device] = (free, count)

    def fits(self) -> sa.ColumnElement[bool]:
        """The condition on runs. A guess that is more than a whole device gets devices of its own."""
        if not self._is_named:
            return runs.c.gpus == 1
        most = sorted((free for free, _ in self._free.values()), reverse=True)
        empty = sum(not count for _, count in self._free.values())
        return sa.or_(sa.false(), *(self._fit(gpus, free, empty) for gpus, free in enumerate(most, 1)))

    def _fit(self, gpus: int, free: float, empty: int) -> sa.ColumnElement[bool]:
        """For runs on so many devices, of which the fullest has ``free``."""
        has_room = sa.true() if free == math.inf else self.need <= free
        return sa.and_(runs.c.gpus == gpus, sa.or_(has_room, sa.and_(IS_GUESS, sa.literal(empty >= gpus))))

    def place(self, need: int, gpus: int) -> tuple[Device, ...]:
        """Where most is free, of those where it fits; nowhere without devices."""
        order = sorted(self._free, key=lambda device: (-self._free[device][0], self._free[device][1]))
        fitting = [device for device in order if self._free[device][0] >= need]
        empty = [device for device in order if not self._free[device][1]]
        return tuple((fitting if len(fitting) >= gpus else empty)[:gpus])

    def has_any(self, uids: Collection[str]) -> bool:
        """Whether one of these devices is among them."""
        return any(device.uid in uids for device in self._free)

    def without(self, uids: Collection[str]) -> Room:
        """The room that is left beside these devices."""
        less = copy.copy(self)
        less._free = {device: free for device, free in self._free.items() if device.uid not in uids}
        return less


def announce(connection: sa.Connection, worker_id: str, found: Sequence[Device]) -> None:
    """Writes down which devices a worker has."""
    connection.execute(sa.delete(devices).where(devices.c.worker == worker_id))
    if found:
        names = ("uid", "name", "memory_bytes", "used_bytes")
        rows = [{name: getattr(device, name) for name in names} | {"worker": worker_id} for device in found]
        connection.execute(sa.insert(devices), rows)


def seen(connection: sa.Connection) -> dict[str, tuple[Seen, ...]]:
    """Every worker's devices, by its id."""
    rows = connection.execute(sa.select(devices).order_by(devices.c.worker, devices.c.uid)).all()
    taken = _taken(connection)
    known: dict[str, list[Seen]] = {}
    for row in rows:
        reserved, held, count = taken.get(row.uid, (0, 0, 0))
        device = Seen(row.uid, row.name, row.memory_bytes, row.used_bytes or held, reserved, count)
        known.setdefault(row.worker, []).append(device)
    return {worker: tuple(found) for worker, found in known.items()}


def _taken(connection: sa.Connection) -> dict[str, tuple[int, int, int]]:
    """(bytes reserved, bytes measured, runs) of the devices that hold something, by uid."""
    held = sa.select(runs.c.device, runs.c.memory_held, runs.c.memory_peak)
    taken: dict[str, tuple[int, int, int]] = {}
    for row in connection.execute(held.where(runs.c.state.in_(LEASED), runs.c.device.is_not(None))):
        for uid in row.device.split():
            reserved, measured, count = taken.get(uid, (0, 0, 0))
            taken[uid] = (reserved + (row.memory_held or 0), measured + (row.memory_peak or 0), count + 1)
    return taken
