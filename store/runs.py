"""Runs: read, cancel, delete; ``store.submit`` makes them."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from store import audit, checkouts, waits
from store.accounts import settle
from store.checkouts import Checkout
from store.database import read, write
from store.dialect import lock_claims
from store.errors import Conflict, NotFound
from store.policy import NAMES, Policy, Priority
from store.states import FINAL, State, move
from store.tables import checkouts as checkout_table
from store.tables import run_checkouts, run_tags, runs, series, users
from store.users import Owners, find


@dataclass(frozen=True)
class Run:
    """A run as it stands. Times are seconds since 1970; ``latest`` holds the newest value of every metric (NaN as nan)."""

    id: str
    number: int
    name: str
    kind: str
    tags: tuple[str, ...]
    owner: str
    owner_name: str
    priority: Priority
    pool: str  # the label that its worker must have; empty for any
    gpus: int  # devices of one worker that it needs
    time_limit_s: float | None
    memory_asked: int | None  # bytes on its device, where its owner said
    memory: int  # bytes to start with
    memory_held: int | None  # bytes reserved for it
    memory_peak: int | None  # bytes measured
    device: str | None  # uids of those it was last on, between blanks
    after: tuple[str, ...]  # ids of runs that must have succeeded
    state: State
    reason: str
    config: dict[str, Any]
    config_hash: str
    schema_version: int
    epoch: int
    attempt: int  # how often a worker took it; equals the epoch
    store_kind: str  # empty but for training
    seed: int
    step: int
    steps: int
    step_time_s: float | None
    checkpoint: str | None  # folder name of the newest
    checkpoint_step: int | None
    worker_id: str | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    updated_at: float
    last_seq: int  # of its newest event
    note: str  # Markdown
    result: dict[str, Any] | None  # {"values": …, "weights_sha256": …, "notes": …}
    imported_from: (
        dict[str, Any] | None
    )  # {"id": where it was first, "at": when it came here}; None for a run made here
    checkout: Checkout | None  # where it was submitted from
    latest: dict[str, float]


def get_run(engine: sa.Engine, run_id: str) -> Run:
    """Raises NotFound."""
    with read(engine) as connection:
        return load(connection, [number_of(connection, run_id)])[0]


def require_run(engine: sa.Engine, run_id: str, owners: Owners) -> None:
    """Raises NotFound unless there is such a run of one of ``owners``: a foreign run is told like one that never was."""
    with read(engine) as connection:
        number_of(connection, run_id, owners)


def visible(engine: sa.Engine, run_ids: Collection[str], owners: Owners) -> Collection[str]:
    """Those of ``run_ids`` that belong to ``owners``."""
    if owners is None:
        return run_ids
    with read(engine) as connection:
        query = sa.select(runs.c.id).where(runs.c.id.in_(run_ids), owned(owners))
        return set(connection.execute(query).scalars())


def request_cancel(
    engine: sa.Engine, run_id: str, reason: str = "", *, by: str | None = None, now: float | None = None
) -> Run:
    """Cancels at once what no worker holds; otherwise asks the worker with its next beat. Asking again changes nothing.

    ``by`` is the id of the user who asks. Raises NotFound, and Conflict for a run that has succeeded or failed.
    """
    now = time.time() if now is None else now
    with write(engine) as connection:
        row = lock(connection, run_id)
        state = State(row.state)
        if state in FINAL - {State.cancelled}:
            raise Conflict(f"run {run_id} has {state} already; only a run that hasn't ended can be cancelled")
        if state not in (State.cancelling, State.cancelled):
            held = state not in (State.queued, State.paused)
            target = State.cancelling if held else State.cancelled
            reason = reason or said_by(connection, "cancelled", row.owner_id, by)
            move(connection, row.number, row.epoch, state, target, reason, now)
            if by is not None:
                audit.record(connection, by, "run.cancel", run_id, now, f"was {state}, of {row.owner_id}")
        return load(connection, [row.number])[0]


def delete_run(
    engine: sa.Engine,
    run_id: str,
    *,
    policy: Policy = Policy(),  # noqa: B008 (frozen)
    by: str | None = None,
    now: float | None = None,
) -> list[str]:
    """Deletes a run that has ended, with all its rows: the ids of those whose files the caller deletes.

    What it used of the pool is charged to its owner by ``policy`` first. ``by`` is the id of the user who asks.
    Raises NotFound, and Conflict for a run that hasn't ended, that another waits for, or whose checkpoint a waiting or
    running eval or analysis needs.
    """
    now = time.time() if now is None else now
    with write(engine) as connection:
        lock_claims(connection)  # claims settle too
        row = lock(connection, run_id)
        if State(row.state) not in FINAL:
            raise Conflict(f"run {run_id} is {row.state}; cancel it first, then delete it")
        needed = connection.execute(
            sa.select(runs.c.id).where(runs.c.source == row.number, runs.c.state.not_in(FINAL)).limit(1)
        ).scalar()
        if needed:
            raise Conflict(f"run {needed} looks at the checkpoint of {run_id}; let it end or cancel it first")
        if needed := waits.needed_by(connection, row.number):
            raise Conflict(f"run {needed} is to come after {run_id}; let it start or cancel it first")
        settle(connection, policy, now)
        checkouts.detach(connection, row.number)
        connection.execute(sa.delete(runs).where(runs.c.number == row.number))
        if by is not None:
            audit.record(connection, by, "run.delete", run_id, now, f"{row.name}, of {row.owner_id}")
        return [run_id]


def runs_changed(
    engine: sa.Engine, since: float, owners: Owners, limit: int = 200, known: Mapping[int, float] | None = None
) -> list[Run]:
    """Runs of ``owners`` whose row changed after ``since`` (seconds since 1970), oldest change first; the next ``since`` is
    the last one's ``updated_at``. Without those whose number and ``updated_at`` are in ``known``.

    A change is stamped a moment before others can see it, so ask again from a second or two earlier and drop those whose
    (id, updated_at) was seen.
    """
    query = sa.select(runs.c.number, runs.c.updated_at).where(runs.c.updated_at > since, owned(owners))
    with read(engine) as connection:
        found = connection.execute(query.order_by(runs.c.updated_at, runs.c.number).limit(limit)).all()
        return load(connection, [number for number, stamp in found if (known or {}).get(number) != stamp])


# --- for the other modules ---------------------------------------------------------------------------------------------


def owned(owners: Owners) -> sa.ColumnElement[bool]:
    """The condition on ``runs`` that every list of them is limited by."""
    return sa.true() if owners is None else runs.c.owner_id.in_(sorted(owners))


def number_of(connection: sa.Connection, run_id: str, owners: Owners = None) -> int:
    """Raises NotFound."""
    if "\0" in run_id:  # PostgreSQL refuses it in any text
        raise NotFound("no such run")
    found = sa.select(runs.c.number).where(runs.c.id == run_id, owned(owners))
    number: int | None = connection.execute(found).scalar()
    if number is None:
        raise NotFound(f"no run {run_id!r}")
    return number


def lock(connection: sa.Connection, run_id: str) -> sa.Row[Any]:
    """The run's row, held until the transaction ends: whoever writes to a run takes this lock first. Raises NotFound."""
    row = connection.execute(sa.select(runs).where(runs.c.id == run_id).with_for_update()).one_or_none()
    if row is None:
        raise NotFound(f"no run {run_id!r}")
    return row


def load(connection: sa.Connection, numbers: Any) -> list[Run]:
    """Runs in the order of ``numbers``."""
    if not numbers:
        return []
    tags: dict[int, list[str]] = {}
    for number, tag in connection.execute(sa.select(run_tags.c.run, run_tags.c.tag).where(run_tags.c.run.in_(numbers))):
        tags.setdefault(number, []).append(tag)
    latest: dict[int, dict[str, float]] = {}
    columns = sa.select(series.c.run, series.c.key, series.c.value).where(series.c.run.in_(numbers))
    for number, key, value in connection.execute(columns.order_by(series.c.run, series.c.key)):
        latest.setdefault(number, {})[key] = float("nan") if value is None else value
    whole = sa.select(runs, users.c.name.label("owner_name"), checkout_table.c.facts.label("checkout"))
    whole = whole.select_from(runs.join(users).outerjoin(run_checkouts).outerjoin(checkout_table))
    rows = {row.number: row for row in connection.execute(whole.where(runs.c.number.in_(numbers)))}
    after = waits.after_of(connection, numbers)
    return [
        of_row(
            rows[n],
            rows[n].owner_name,
            sorted(tags.get(n, ())),
            after.get(n, []),
            latest.get(n, {}),
            Checkout(**rows[n].checkout) if rows[n].checkout else None,
        )
        for n in numbers
        if n in rows
    ]


def said_by(connection: sa.Connection, what: str, owner_id: str, by: str | None) -> str:
    """``what`` was done to a run of ``owner_id``, and by whom, as a reason."""
    return f"{what} by {'its owner' if by is None or by == owner_id else find(connection, by).name}"


_SAME = [name for name in Run.__dataclass_fields__ if name in runs.c]


def of_row(
    row: sa.Row[Any],
    owner_name: str,
    tags: list[str],
    after: list[str],
    latest: dict[str, float],
    checkout: Checkout | None,
) -> Run:
    """The run of a row and of what is kept beside it."""
    same = {name: getattr(row, name) for name in _SAME}
    same |= {
        "state": State(row.state),
        "owner": row.owner_id,
        "owner_name": owner_name,
        "priority": NAMES[row.band],
    }
    return Run(**same, attempt=row.epoch, tags=tuple(tags), after=tuple(after), checkout=checkout, latest=latest)
