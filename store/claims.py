"""Taking runs, holding them by a lease, and giving them back: everything that fences a worker.

Each call takes ``now`` (seconds since 1970) so that tests need no waiting; it is the clock when left out.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from laser_core.config import SCHEMA_VERSION, TrainConfig, parse_run
from laser_core.estimate import start_bytes
from laser_core.events import Progress
from store.accounts import read_accounts, settle
from store.database import read, require_head_here, write
from store.devices import GPU_NEED, IS_GUESS, NEED, Device, Room
from store.dialect import insert, lock_claims
from store.errors import Conflict, Superseded
from store.homes import Homes
from store.leases import expire_leases as expire_leases
from store.luggage import Luggage, pack
from store.policy import BANDS, fair_shares
from store.runs import lock
from store.settings import MIB, Settings
from store.states import FINAL, LEASED, RELEASED, State, move
from store.tables import attempts, leaders, runs
from store.text import clean
from store.waits import WAITS
from store.workers import is_drained


@dataclass(frozen=True)
class Claim:
    """A run in this worker's hands under ``epoch``, until its lease ends."""

    run_id: str
    epoch: int
    config: dict[str, Any]
    checkpoint: str | None  # folder name to resume from, under luggage.directory/"checkpoints"
    step: int  # of that checkpoint
    luggage: Luggage
    devices: tuple[Device, ...]  # where it is carried out, if the worker has named its devices
    gpus: int  # processes that train together, each on one of them
    memory_bytes: int  # it may hold on each; 0 for any number


@dataclass(frozen=True)
class Orders:
    """What a beat brings back."""

    cancel: bool
    pause: bool = False
    preempt: bool = False  # a run of a higher band needs its slot
    limit: bool = False  # its time is over
    drain: bool = False  # the worker's, not the run's: back to the queue with a checkpoint


IS_LIGHT = runs.c.kind == "inspect"  # somebody waits for it, and it ends within two minutes
IS_LEAVING = runs.c.preempted == runs.c.epoch  # where it is in a worker's hands
READY = sa.and_(runs.c.state == State.queued, sa.not_(WAITS))


def claim_run(
    engine: sa.Engine,
    worker_id: str,
    lease_s: float,
    *,
    settings: Settings,
    devices: Sequence[Device] = (),
    seats: int | None = None,
    now: float | None = None,
) -> Claim | None:
    """Takes the run whose turn it is by the policy among those that this worker may take, or None when there is none; it
    fits into the memory that is left on one of the ``devices``, or on as many as it needs.
    ``settings`` say where files lie, what the worker's pools are and what the policy is. A drained worker gets nothing; one
    that carries out ``seats`` runs gets inspections alone, which are short.

    Raises Outdated for code that is of another version than the database.
    """
    with write(engine) as connection:
        require_head_here(connection)
        if is_drained(connection, worker_id):
            return None
        lock_claims(connection)  # one at a time, so that every claim sees what the one before took
        now = time.time() if now is None else now  # after that wait, or the lease would be the shorter for it
        room = Room(connection, devices)
        turn = _next(connection, settings, room, _allowed(connection, worker_id, seats), now)
        return None if turn is None else _take(connection, settings, *turn, worker_id, lease_s, now)


def _take(
    connection: sa.Connection, settings: Settings, number: int, room: Room, worker_id: str, lease_s: float, now: float
) -> Claim | None:
    """Makes the next attempt at a run that worker's; None where it was cancelled a moment ago: the doorbell rings again for
    the next."""
    query = sa.select(runs, room.need.label("need")).where(runs.c.number == number)
    row = connection.execute(query.with_for_update()).one()
    if row.state != State.queued:
        return None
    epoch = row.epoch + 1
    chosen, need = room.place(row.need, row.gpus), row.need
    size = min((device.memory_bytes for device in chosen), default=0)
    if size:
        need = min(need, size)
    move(
        connection,
        row.number,
        row.epoch,
        State.queued,
        State.starting,
        f"attempt {epoch}" if epoch > 1 else "",
        now,
        epoch=epoch,
        worker_id=worker_id,
        lease_until=now + lease_s,
        started_at=row.started_at or now,
        step=row.checkpoint_step or 0,
        device=" ".join(device.uid for device in chosen) or None,
        memory_held=need,
    )
    attempt = {"run": row.number, "epoch": epoch, "worker_id": worker_id, "started_at": now, "is_charged": False}
    connection.execute(sa.insert(attempts).values(attempt))
    return Claim(
        run_id=row.id,
        epoch=epoch,
        config=row.config,
        checkpoint=row.checkpoint,
        step=row.checkpoint_step or 0,
        luggage=pack(connection, settings, row, epoch),
        devices=chosen,
        gpus=row.gpus,
        memory_bytes=min(max(need, row.memory), size),
    )


def _allowed(connection: sa.Connection, worker_id: str, seats: int | None) -> sa.ColumnElement[bool]:
    """The condition on runs by what is in the worker's hands. While some make way, what the first of them left isn't for a
    run of the low band again: the one that they make way for may need it all."""
    held, leaving = (sa.func.count(sa.case((condition, 1))) for condition in (sa.not_(IS_LIGHT), IS_LEAVING))
    mine = sa.select(held, leaving).where(runs.c.worker_id == worker_id, runs.c.state.in_(LEASED))
    busy, going = connection.execute(mine).one()
    is_full = seats is not None and busy >= seats
    return sa.and_(IS_LIGHT if is_full else sa.true(), runs.c.band < BANDS["low"] if going else sa.true())


def _next(
    connection: sa.Connection, settings: Settings, room: Room, allowed: sa.ColumnElement[bool], now: float
) -> tuple[int, Room] | None:
    """Number of the run to start, and where there is room for it."""
    policy, mine = settings.policy, sa.and_(allowed, runs.c.pool.in_(("", *settings.pool_labels)))
    fitting = _firsts(connection, mine, room.fits())
    if not fitting:
        return None
    large = _firsts(connection, runs.c.gpus > 1, by=(runs.c.gpus, runs.c.pool, runs.c.memory_asked))
    settle(connection, policy, now)
    accounts = read_accounts(connection, policy, now)
    shares = fair_shares(policy, accounts, {row.owner_id for row in (*fitting, *large)})

    def turn(row: Any) -> tuple[int, float, float, int]:
        waited = now - row.created_at
        return row.band, -policy.priority(shares[row.owner_id][1], waited), row.created_at, row.number

    def first(rows: Iterable[Any]) -> Any:
        return min((row for row in rows if not accounts[row.owner_id].is_at_limit), key=turn, default=None)

    known = Homes(connection, settings.lease_s, now) if large else None
    homes = {row: home for row in large if known and (home := known.of(row))}
    best, keeper = first(fitting), first(homes)
    if best and keeper and turn(keeper) < turn(best) and room.has_any(homes[keeper].uids):
        beside = room.without(homes[keeper].uids)
        best = first(_firsts(connection, mine, sa.or_(beside.fits(), sa.and_(IS_LIGHT, room.fits()))))
        room = room if best and best.is_light else beside
    return None if best is None else (best.number, room)


def _firsts(
    connection: sa.Connection, *conditions: sa.ColumnElement[bool], by: Sequence[sa.ColumnElement[Any]] = ()
) -> Sequence[sa.Row[Any]]:
    """The runs to compare: within a user's band the oldest is first, so one of each is enough."""
    oldest = sa.select(sa.func.min(runs.c.number)).where(READY, runs.c.schema_version <= SCHEMA_VERSION, *conditions)
    columns = (runs.c.number, runs.c.owner_id, runs.c.band, runs.c.created_at, runs.c.gpus, runs.c.pool)
    needs = (NEED.label("need"), GPU_NEED.label("gpu_need"), IS_GUESS.label("is_guess"), IS_LIGHT.label("is_light"))
    query = sa.select(*columns, *needs)
    numbers = connection.execute(oldest.group_by(runs.c.owner_id, runs.c.band, *by)).scalars().all()
    return connection.execute(query.where(runs.c.number.in_(numbers))).all() if numbers else ()


def mark_running(engine: sa.Engine, run_id: str, epoch: int, *, now: float | None = None) -> None:
    """starting → running; nothing when it runs already or a cancel came first. Raises Superseded."""
    with write(engine) as connection:
        row = hold(connection, run_id, epoch)
        now = time.time() if now is None else now
        if row.state == State.starting:
            move(connection, row.number, epoch, State.starting, State.running, "", now)


def heartbeat(
    engine: sa.Engine,
    run_id: str,
    epoch: int,
    lease_s: float,
    progress: Progress | None = None,
    *,
    now: float | None = None,
) -> Orders:
    """Extends the lease. Raises Superseded when the run is no longer this epoch's."""
    with write(engine) as connection:
        row = hold(connection, run_id, epoch)
        now = time.time() if now is None else now  # after the wait for the lock
        values: dict[str, Any] = {"lease_until": now + lease_s}
        if progress is not None:
            shown = {"step": progress.step, "steps": progress.steps, "step_time_s": progress.step_time_s}
            values |= shown | {"updated_at": now}
        connection.execute(sa.update(runs).where(runs.c.number == row.number).values(values))
        return Orders(
            cancel=row.state == State.cancelling,
            pause=row.state == State.pausing,
            preempt=row.preempted == epoch,
            limit=row.time_limit_s is not None and _ran_s(connection, row.number, now) >= row.time_limit_s,
            drain=is_drained(connection, row.worker_id),
        )


def _ran_s(connection: sa.Connection, number: int, now: float) -> float:
    """Seconds that a run has been carried out, over all attempts."""
    spans = sa.func.sum(sa.func.coalesce(attempts.c.ended_at, now) - attempts.c.started_at)
    ran: float = connection.execute(sa.select(spans).where(attempts.c.run == number)).scalar_one()
    return ran


def finish(
    engine: sa.Engine,
    run_id: str,
    epoch: int,
    state: State,
    reason: str = "",
    result: dict[str, Any] | None = None,
    *,
    now: float | None = None,
) -> None:
    """Ends the run: succeeded, failed or cancelled. Repeating it is harmless. ``result`` replaces what ingest stored.

    Raises Superseded, or Conflict for a state that the run can't end in.
    """
    if state not in FINAL:
        raise Conflict(f"a run ends as {', '.join(sorted(FINAL))}, not {state}")
    with write(engine) as connection:
        row = lock(connection, run_id)
        now = time.time() if now is None else now
        if row.epoch == epoch and row.state == state:
            return  # the answer to an earlier call was lost
        _check_held(row, epoch)
        also = {} if result is None else {"result": result}
        move(connection, row.number, epoch, State(row.state), State(state), clean(reason, 2000), now, **also)


def release(engine: sa.Engine, run_id: str, epoch: int, reason: str, *, now: float | None = None) -> None:
    """Gives the run back to the queue (a drained worker), which is added to the reason; not counted as lost. One that is
    being cancelled becomes cancelled, one that is being paused becomes paused. Raises Superseded.
    """
    with write(engine) as connection:
        row = hold(connection, run_id, epoch)
        now = time.time() if now is None else now
        target = RELEASED.get(State(row.state), State.queued)
        if target == State.queued:
            reason += "; back in the queue"
        move(connection, row.number, epoch, State(row.state), target, clean(reason, 2000), now)


def lose(
    engine: sa.Engine, run_id: str, epoch: int, reason: str, max_attempts: int = 3, *, now: float | None = None
) -> None:
    """Gives back a run whose training process was killed. Counts as a lost worker: after ``max_attempts`` since its last
    checkpoint the run fails, as it may be what kills them. One that is being cancelled becomes cancelled, one that is being
    paused becomes paused. Raises Superseded.
    """
    with write(engine) as connection:
        row = hold(connection, run_id, epoch)
        now = time.time() if now is None else now
        target, lost = RELEASED.get(State(row.state), State.queued), row.lost + 1
        if target != State.cancelled and lost >= max_attempts:
            target = State.failed
            reason += f"; lost {lost} times without a new checkpoint, so it isn't tried again"
        move(connection, row.number, epoch, State(row.state), target, clean(reason, 2000), now, lost=lost)


def grow(engine: sa.Engine, run_id: str, epoch: int, reason: str, *, now: float | None = None) -> None:
    """Gives back a run that needed more memory than it had: once, to get twice as much, or what its configuration lets guess
    if that is more; then it fails. One that is being cancelled becomes cancelled, one that is being paused becomes paused.

    Raises Superseded.
    """
    with write(engine) as connection:
        row = hold(connection, run_id, epoch)
        now = time.time() if now is None else now
        target = RELEASED.get(State(row.state), State.queued)
        also: dict[str, Any] = {}
        if row.memory_grown:
            target = State.failed if target != State.cancelled else target
            reason += "; it was given more before, so it isn't tried again"
        else:
            config = parse_run(row.config)
            guess = start_bytes(config, processes=row.gpus) if isinstance(config, TrainConfig) else 0
            larger = max(2 * row.memory, guess)
            also = {"memory": larger, "memory_held": None, "memory_grown": True}
            reason += f"; {'back in the queue' if target == State.queued else 'goes on'} with {larger / MIB:.0f} MiB"
        move(connection, row.number, epoch, State(row.state), target, clean(reason, 2000), now, **also)


def queued_count(engine: sa.Engine, only_light: bool = False) -> int:
    """Runs that a worker could claim now; or the inspections among them."""
    query = sa.select(sa.func.count()).select_from(runs).where(READY, IS_LIGHT if only_light else sa.true())
    with read(engine) as connection:
        return connection.execute(query).scalar_one()


def lead(engine: sa.Engine, name: str, holder: str, ttl_s: float, *, now: float | None = None) -> bool:
    """Whether ``holder`` leads ``name`` for the next ``ttl_s`` seconds; the leader renews by calling again."""
    with write(engine) as connection:
        now = time.time() if now is None else now
        term = {"holder": holder, "until": now + ttl_s}
        claim = insert(connection, leaders).values(name=name, **term)
        mine = sa.or_(leaders.c.holder == holder, leaders.c.until < now)
        elected = claim.on_conflict_do_update(index_elements=["name"], set_=term, where=mine)
        return connection.execute(elected.returning(leaders.c.name)).one_or_none() is not None


# --- for the other modules ---------------------------------------------------------------------------------------------


def hold(connection: sa.Connection, run_id: str, epoch: int) -> sa.Row[Any]:
    """The run's row, locked. Raises Superseded unless the run is in the hands of this epoch's worker."""
    row = lock(connection, run_id)
    _check_held(row, epoch)
    return row


def _check_held(row: sa.Row[Any], epoch: int) -> None:
    if row.epoch != epoch or State(row.state) not in LEASED:
        raise Superseded(f"run {row.id} is {row.state} in epoch {row.epoch}; epoch {epoch} may no longer write to it")
