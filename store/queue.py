"""Why a run waits: the queue in the order in which it will start, and when that will be.

Order and priorities are the policy's, as claims apply them. Times are a guess: the queue is dealt out to the slots of the
live workers as each becomes free, and takes as long as runs like it took.
"""

from __future__ import annotations

import heapq
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from store.accounts import read_accounts
from store.database import read
from store.devices import GPU_NEED, IS_GUESS, NEED, seen
from store.homes import Homes
from store.policy import NAMES, Account, Policy, Priority, fair_shares
from store.settings import MIB, Settings
from store.states import LEASED, State
from store.tables import runs, users, workers
from store.waits import unmet
from store.workers import takes, why_unable

LOOKED_AT = 500  # newest finished runs, for how long they took


@dataclass(frozen=True)
class Waiting:
    """A run that waits. ``position`` counts from 1 and, like ``starts_in_s``, is None where nothing here may take it."""

    run_id: str
    name: str
    owner: str
    position: int | None
    starts_in_s: float | None
    reason: str
    band: Priority
    pool: str
    priority: float  # fair_share + age
    fair_share: float
    age: float  # what its wait adds
    waited_s: float
    waits_for: tuple[str, ...]  # ids of runs


@dataclass(frozen=True)
class Standing:
    """A user's part of the pool. ``usage_s`` are slot-seconds as they are worth now."""

    user: str
    name: str
    shares: float
    share: float  # of the pool, among those who wait, run or have used something of late
    usage_s: float
    fair_share: float
    running: int
    waiting: int
    most_running: int


@dataclass(frozen=True)
class Queue:
    """The pool as it stands. ``slots`` are those of workers that take runs, and what others still carry out."""

    waiting: tuple[Waiting, ...]
    standings: tuple[Standing, ...]
    slots: int
    busy: int


class _Slot(NamedTuple):
    free_in_s: float
    number: int
    pools: frozenset[str]


def look(engine: sa.Engine, settings: Settings, *, now: float | None = None) -> Queue:
    """The whole queue, in order: what may start, then what waits for something else."""
    now, policy = time.time() if now is None else now, settings.policy
    with read(engine) as connection:
        rows = connection.execute(sa.select(*_COLUMNS).where(runs.c.state == State.queued)).all()
        waits_for = unmet(connection)
        memory = _Memory(connection, settings, now)
        accounts = read_accounts(connection, policy, now)
        names = {row.id: row.name for row in connection.execute(sa.select(users.c.id, users.c.name))}
        durations = _Durations(connection)
        slots = _slots(connection, settings, durations, now)
        unable = why_unable(connection, settings.lease_s, now)
        is_busy = (runs.c.state.in_(LEASED), runs.c.kind != "inspect")
        busy = connection.execute(sa.select(sa.func.count()).where(*is_busy)).scalar_one()
        takers = sa.select(workers.c.id).where(takes(settings.lease_s, now))
        leaving = connection.execute(
            sa.select(sa.func.count()).where(*is_busy, runs.c.worker_id.not_in(takers))
        ).scalar_one()
    shares = fair_shares(policy, accounts, {row.owner_id for row in rows})
    turns = sorted(rows, key=lambda row: (row.number in waits_for, *_turn(row, shares, policy, now)))
    waiting = _in_order(turns, waits_for, memory, accounts, shares, slots, unable, durations, policy, now)
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.owner_id] = counts.get(row.owner_id, 0) + 1
    standings = [
        Standing(
            user,
            names[user],
            of.shares,
            *(share[:1]),
            of.usage,
            share[1],
            of.running,
            counts.get(user, 0),
            of.most_running,
        )
        for user, share in shares.items()
        for of in [accounts[user]]
    ]
    standings.sort(key=lambda standing: (-standing.share, standing.name))
    return Queue(tuple(waiting), tuple(standings), len(slots) + leaving, busy)


_COLUMNS = (
    runs.c.id, runs.c.name, runs.c.number, runs.c.owner_id, runs.c.band, runs.c.pool, runs.c.created_at, runs.c.kind,
    runs.c.store_kind, runs.c.config_hash, runs.c.steps, runs.c.checkpoint_step, runs.c.time_limit_s,
    runs.c.gpus, NEED.label("need"), GPU_NEED.label("gpu_need"), IS_GUESS.label("is_guess"),
)  # fmt: skip


def _turn(row: Any, shares: dict[str, tuple[float, float]], policy: Policy, now: float) -> tuple[Any, ...]:
    return (
        row.band,
        -policy.priority(shares[row.owner_id][1], now - row.created_at),
        row.created_at,
        row.number,
    )


def _in_order(
    rows: Sequence[Any],
    waits_for: dict[int, list[str]],
    memory: _Memory,
    accounts: dict[str, Account],
    shares: dict[str, tuple[float, float]],
    slots: list[_Slot],
    unable: dict[str, str],
    durations: _Durations,
    policy: Policy,
    now: float,
) -> list[Waiting]:
    labels = frozenset().union(*(slot.pools for slot in slots))
    by_pool = {pool: [slot for slot in slots if not pool or pool in slot.pools] for pool in {"", *labels}}
    # One queue of slots serves all; a run that asks for a pool looks through those that have it.
    free = {slot.number: slot.free_in_s for slot in slots}
    heap = [(slot.free_in_s, slot.number) for slot in slots]
    heapq.heapify(heap)
    found, position = [], 0
    for row in rows:
        others = waits_for.get(row.number, ())
        reason, starts_in_s = _hindrance(row, others, accounts[row.owner_id], by_pool, unable), None
        place = None
        too_large = "" if reason else memory.is_too_large(row)
        if too_large and row.pool in unable:
            too_large = f"{too_large} (not counted: {unable[row.pool]})"
        reason = reason or too_large or memory.is_short(row)
        if not others and not too_large and row.pool in by_pool and by_pool[row.pool]:
            position += 1
            place = position
            starts_in_s = _deal(row, free, heap, by_pool, durations)
            reason = reason or ("next" if place == 1 else f"{place - 1} before it")
        fair_share, wait_s = shares[row.owner_id][1], now - row.created_at
        priority, age = policy.priority(fair_share, wait_s), policy.age(wait_s)
        known = (row.id, row.name, row.owner_id, place, starts_in_s, reason, NAMES[row.band], row.pool)
        found.append(Waiting(*known, priority, fair_share, age, wait_s, tuple(others)))
    return found


def _hindrance(
    row: Any, others: Sequence[str], account: Account, by_pool: dict[str, list[_Slot]], unable: dict[str, str]
) -> str:
    """What but the queue keeps it waiting; empty for nothing."""
    if others:
        return f"waits for run {', '.join(others)}"
    if not by_pool.get(row.pool) and row.pool in unable:
        return f"no worker takes it: {unable[row.pool]}"
    if not by_pool[""]:
        return "no worker is alive, or all are drained"
    if not by_pool.get(row.pool):
        return f"no live worker has the label {row.pool!r}"
    if account.is_at_limit:
        return f"its owner runs {account.running} at once, which is the limit"
    return ""


def _deal(
    row: Any,
    free: dict[int, float],
    heap: list[tuple[float, int]],
    by_pool: dict[str, list[_Slot]],
    durations: _Durations,
) -> float | None:
    """Gives the run the slot that is free first; when that is, or None where how long others take isn't known."""
    if row.pool:
        number = min(by_pool[row.pool], key=lambda slot: free[slot.number]).number
    else:
        while free[heap[0][1]] != heap[0][0]:  # since taken by one that asked for its pool
            heapq.heapreplace(heap, (free[heap[0][1]], heap[0][1]))
        number = heap[0][1]
    starts_in_s = free[number]
    left = 1 - (row.checkpoint_step or 0) / row.steps if row.steps else 1.0
    free[number] = starts_in_s + min(durations.of(row) * left, row.time_limit_s or math.inf)
    if not row.pool:
        heapq.heapreplace(heap, (free[number], number))
    return starts_in_s if starts_in_s < float("inf") else None


class _Memory:
    """Of the devices of live workers that aren't drained, by label; "" for all."""

    def __init__(self, connection: sa.Connection, settings: Settings, now: float) -> None:
        known = seen(connection)
        self._homes = Homes(connection, settings.lease_s, now)
        self._size: dict[str, float] = {}
        self._free: dict[str, float] = {}
        for worker in connection.execute(sa.select(workers.c.id, workers.c.pools).where(takes(settings.lease_s, now))):
            for device in known.get(worker.id, ()):
                size = device.memory_bytes or math.inf
                for label in ("", *worker.pools.split()):
                    self._size[label] = max(self._size.get(label, 0), size)
                    self._free[label] = max(self._free.get(label, 0), size - device.reserved_bytes)

    def is_too_large(self, row: Any) -> str:
        """Why it never starts; empty where it may."""
        if row.gpus > 1:
            return self._is_too_many(row)
        size = self._size.get(row.pool, math.inf)
        if row.is_guess or row.need <= size:
            return ""
        return f"asks for {row.need / MIB:.0f} MiB; the largest device that it may use has {size / MIB:.0f}"

    def _is_too_many(self, row: Any) -> str:
        if self._homes.of(row):
            return ""
        if (most := self._homes.most(row.pool)) < row.gpus:
            return f"asks for {row.gpus} GPUs of one worker; the most that one has is {most}"
        return f"asks for {row.need / MIB:.0f} MiB on each of {row.gpus} GPUs, which no worker has"

    def is_short(self, row: Any) -> str:
        """Why it doesn't start now; empty where it may."""
        if row.gpus > 1 and (home := self._homes.of(row)):
            short = f"needs {row.gpus} GPUs at once, worker {home.worker} has {home.free} free"
            return short if home.free < row.gpus else ""
        free, size = self._free.get(row.pool, math.inf), self._size.get(row.pool, math.inf)
        return f"waits for {row.need / MIB:.0f} MiB on a device" if min(row.need, size) > free else ""


class _Durations:
    """How long runs take: the median of the newest that are alike, by what is known of them; inf where nothing is."""

    def __init__(self, connection: sa.Connection) -> None:
        took = (runs.c.finished_at - runs.c.started_at).label("took")
        query = (
            sa.select(*_COLUMNS, took)
            .where(runs.c.state == State.succeeded, runs.c.started_at.is_not(None))
            .order_by(runs.c.number.desc())
            .limit(LOOKED_AT)
        )
        alike: dict[tuple[Any, ...], list[float]] = {}
        for row in connection.execute(query):
            for key in self._keys(row):
                alike.setdefault(key, []).append(row.took)
        self._medians = {key: statistics.median(values) for key, values in alike.items()}

    @staticmethod
    def _keys(row: Any) -> tuple[tuple[Any, ...], ...]:
        """From the most alike to the least."""
        return (row.config_hash,), (row.kind, row.store_kind, row.steps), (row.kind, row.steps), (row.kind,)

    def of(self, row: Any) -> float:
        known: float = next((self._medians[key] for key in self._keys(row) if key in self._medians), float("inf"))
        return known


def _slots(connection: sa.Connection, settings: Settings, durations: _Durations, now: float) -> list[_Slot]:
    """Of the live workers that aren't drained: when each is free."""
    held: dict[str, list[float]] = {}
    columns = (*_COLUMNS, runs.c.worker_id, runs.c.step, runs.c.step_time_s, runs.c.state_since)
    for row in connection.execute(sa.select(*columns).where(runs.c.state.in_(LEASED))):
        held.setdefault(row.worker_id, []).append(_left(row, durations, now))
    alive = sa.select(workers).where(takes(settings.lease_s, now)).order_by(workers.c.id)
    slots: list[_Slot] = []
    for worker in connection.execute(alive):
        busy = sorted(held.get(worker.id, ()))[: worker.slots]
        for free_in_s in busy + [0.0] * (worker.slots - len(busy)):
            slots.append(_Slot(free_in_s, len(slots), frozenset(worker.pools.split())))
    return slots


def _left(row: Any, durations: _Durations, now: float) -> float:
    """Seconds that a running run still takes."""
    if row.step_time_s and row.steps > row.step > 0:
        return float((row.steps - row.step) * row.step_time_s)
    return max(0.0, durations.of(row) - float(now - row.state_since))
