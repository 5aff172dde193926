"""Devices, and how runs share one by memory.

A run reserves what it may need at its start; once it has got going, what it was measured to hold. A run that doesn't fit
into what is left anywhere is passed over by claims, and others aren't kept waiting for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
        taken = {uid: (reserved, count) for uid, reserved, _, count in _taken(connection, [d.uid for d in found])}
        self.need = GPU_NEED if any(device.visible for device in found) else NEED
        self._free = {}
        for device in found:
            reserved, count = taken.get(device.uid, (0, 0))
            free = device.memory_bytes - reserved if device.memory_bytes else math.inf
            self._free[device] = (free, count)

    def fits(self) -> sa.ColumnElement[bool]:
        """The condition on runs. A guess that is more than a whole device gets a device of its own."""
        most = max((free for free, _ in self._free.values()), default=math.inf)
        if most == math.inf:
            return sa.true()
        is_one_empty = any(not count for _, count in self._free.values())
        return sa.or_(self.need <= most, sa.and_(IS_GUESS, sa.literal(is_one_empty)))

    def place(self, need: int) -> Device | None:
        """Where most is free, of those where it fits; None without devices."""
        order = sorted(self._free, key=lambda device: (-self._free[device][0], self._free[device][1]))
        fitting = [device for device in order if self._free[device][0] >= need]
        empty = [device for device in order if not self._free[device][1]]
        return next(iter(fitting or empty), None)


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
    taken = {each[0]: each[1:] for each in _taken(connection, [row.uid for row in rows])}
    known: dict[str, list[Seen]] = {}
    for row in rows:
        reserved, held, count = taken.get(row.uid, (0, 0, 0))
        device = Seen(row.uid, row.name, row.memory_bytes, row.used_bytes or held, reserved, count)
        known.setdefault(row.worker, []).append(device)
    return {worker: tuple(found) for worker, found in known.items()}


def _taken(connection: sa.Connection, uids: Sequence[str]) -> list[tuple[str, int, int, int]]:
    """(device, bytes reserved, bytes measured, runs) of those that hold something."""
    reserved, held = (sa.func.coalesce(sa.func.sum(column), 0) for column in (runs.c.memory_held, runs.c.memory_peak))
    query = sa.select(runs.c.device, reserved, held, sa.func.count()).group_by(runs.c.device)
    rows = connection.execute(query.where(runs.c.state.in_(LEASED), runs.c.device.in_(uids))).all()
    return [(row[0], int(row[1]), int(row[2]), row[3]) for row in rows]
