"""Runs: create, read, list, cancel, delete."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import sqlalchemy as sa

from laser_core.config import SCHEMA_VERSION, MazeTask, RunConfig, SudokuTask, TrainConfig, config_hash, input_names
from laser_core.estimate import start_bytes
from laser_core.schema import Problem, to_json
from store import audit, inspections, waits
from store.accounts import settle
from store.database import read, write
from store.dialect import insert, lock_claims
from store.errors import Conflict, NotFound, Refused
from store.policy import BANDS, NAMES, Policy, Priority
from store.requests import Request
from store.states import FINAL, State, move
from store.tables import datasets, events, run_datasets, run_tags, runs, series, users
from store.text import clean
from store.users import Owners, find, seen_by
from store.waits import find_after


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
    time_limit_s: float | None
    memory_asked: int | None  # bytes on its device, where its owner said
    memory: int  # bytes to start with
    memory_held: int | None  # bytes reserved for it
    memory_peak: int | None  # bytes measured
    device: str | None
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
    latest: dict[str, float]


def create_run(
    engine: sa.Engine,
    config: RunConfig,
    owner_id: str,
    idempotency_key: str | None = None,
    *,
    request: Request = Request(),  # noqa: B008 (frozen)
    now: float | None = None,
) -> tuple[Run, bool]:
    """Queues a run, in one transaction: (the run, whether it was created).

    The same owner's same key and configuration give the run of the first call, created False; so does an inspection of the
    same content that the owner may see. Inspections go to the high band whatever ``request`` says: somebody waits for them,
    and their time is limited.

    Raises Conflict for the same key with another configuration, Refused when a dataset, the checkpoint's run or one to come
    after isn't there or not the owner's to see.
    """
    now = time.time() if now is None else now
    with write(engine) as connection:
        return queue_run(connection, config, owner_id, idempotency_key, request=request, now=now)


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
) -> list[PurePosixPath]:
    """Deletes a run that has ended, with all its rows: the folders under ``artifacts_dir`` for the caller to delete.

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
        connection.execute(sa.delete(runs).where(runs.c.number == row.number))
        if by is not None:
            audit.record(connection, by, "run.delete", run_id, now, f"{row.name}, of {row.owner_id}")
        return [PurePosixPath(run_id)]


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
    whole = sa.select(runs, users.c.name.label("owner_name")).join(users, users.c.id == runs.c.owner_id)
    rows = {row.number: row for row in connection.execute(whole.where(runs.c.number.in_(numbers)))}
    after = waits.after_of(connection, numbers)
    return [
        _run(rows[n], rows[n].owner_name, sorted(tags.get(n, ())), after.get(n, []), latest.get(n, {}))
        for n in numbers
        if n in rows
    ]


def said_by(connection: sa.Connection, what: str, owner_id: str, by: str | None) -> str:
    """``what`` was done to a run of ``owner_id``, and by whom, as a reason."""
    return f"{what} by {'its owner' if by is None or by == owner_id else find(connection, by).name}"


_SAME = [name for name in Run.__dataclass_fields__ if name in runs.c]


def _run(row: sa.Row[Any], owner_name: str, tags: list[str], after: list[str], latest: dict[str, float]) -> Run:
    same = {name: getattr(row, name) for name in _SAME}
    same |= {
        "state": State(row.state),
        "owner": row.owner_id,
        "owner_name": owner_name,
        "priority": NAMES[row.band],
    }
    return Run(**same, attempt=row.epoch, tags=tuple(tags), after=tuple(after), latest=latest)


# --- creating ----------------------------------------------------------------------------------------------------------

# Built once: SQLAlchemy takes longer to build a statement than SQLite to carry it out, and runs are submitted by the hundred.
_NEW_TAG, _NEW_EVENT = sa.insert(run_tags), sa.insert(events)
_OWNER_NAME = sa.select(users.c.name).where(users.c.id == sa.bindparam("id"))
_BY_KEY = sa.select(runs.c.number, runs.c.config_hash).where(
    runs.c.owner_id == sa.bindparam("owner_id"), runs.c.idempotency_key == sa.bindparam("key")
)


def queue_run(
    connection: sa.Connection,
    config: RunConfig,
    owner_id: str,
    idempotency_key: str | None = None,
    *,
    request: Request,
    now: float,
) -> tuple[Run, bool]:
    """``create_run`` inside a transaction."""
    if earlier := _earlier(connection, config, owner_id, idempotency_key):
        return earlier, False
    source = _source(connection, config, owner_id)
    inputs = _inputs(connection, config, source)
    content = inspections.content_of(connection, config, source, inputs)
    if content and (number := inspections.number_with(connection, content, _seen(connection, owner_id))):
        return load(connection, [number])[0], False
    values = row_values(config, source, now) | {"owner_id": owner_id, "idempotency_key": idempotency_key}
    band = BANDS["high" if config.kind == "inspect" else request.priority]
    values |= {"band": band, "pool": clean(request.pool, 40), "time_limit_s": request.time_limit_s}
    memory = request.memory_bytes or _guess(connection, config, inputs)
    values |= {"content": content, "memory_asked": request.memory_bytes, "memory": memory}
    after = find_after(connection, request.after, _seen(connection, owner_id)) if request.after else {}
    once = insert(connection, runs).on_conflict_do_nothing(index_elements=["owner_id", "idempotency_key"])
    row = connection.execute(once.returning(runs), values).one_or_none()
    if row is None and (earlier := _earlier(connection, config, owner_id, idempotency_key)):
        return earlier, False
    assert row is not None
    tags = sorted({clean(tag, 40) for tag in config.tags})
    if tags:
        connection.execute(_NEW_TAG, [{"run": row.number, "tag": tag} for tag in tags])
    if inputs:
        connection.execute(sa.insert(run_datasets), [{"run": row.number, **i} for i in inputs])
    waits.add(connection, row.number, source.number if source else None, after.values())
    data = {"state": "queued", "from": "", "reason": ""}
    event = {"run": row.number, "seq": 1, "time": now, "kind": "state", "epoch": 0, "data": data}
    connection.execute(_NEW_EVENT, event)
    owner_name = connection.execute(_OWNER_NAME, {"id": owner_id}).scalar_one()
    return _run(row, owner_name, tags, list(after), {}), True


def row_values(config: RunConfig, source: sa.Row[Any] | None, now: float) -> dict[str, Any]:
    """Columns of a new run's row that follow from its configuration."""
    return {
        "id": "r_" + base64.b32encode(secrets.token_bytes(8)).decode().lower()[:12],
        "name": clean(config.name, 120) or clean(_made_name(config, source), 240),
        "kind": config.kind,
        "store_kind": config.store.kind if isinstance(config, TrainConfig) else "",
        "seed": getattr(config, "seed", 0),
        "config": to_json(config),
        "config_hash": config_hash(config),
        "schema_version": SCHEMA_VERSION,
        "source": source.number if source else None,
        "state": State.queued,
        "state_since": now,
        "steps": config.training.steps if isinstance(config, TrainConfig) else 0,
        "last_seq": 1,
        "created_at": now,
        "updated_at": now,
    }


def _made_name(config: RunConfig, source: sa.Row[Any] | None) -> str:
    task = config.task
    puzzles = ", ".join(input_names(config))[:120]
    if isinstance(task, SudokuTask | MazeTask):
        puzzles = f"{task.kind} {task.size}×{task.size}"
    if isinstance(config, TrainConfig):
        return f"{config.store.kind} · {puzzles} · seed {config.seed}"
    if config.kind == "inspect":
        puzzles = "own puzzle" if config.puzzle else f"{config.split} puzzle {config.index}"
    return f"{config.kind} of {source.name if source else config.checkpoint}"[:200] + (
        f" · {puzzles}" if puzzles else ""
    )


def _source(connection: sa.Connection, config: RunConfig, owner_id: str) -> sa.Row[Any] | None:
    """The training run whose checkpoint a run of another kind reads; one that its owner may see."""
    if isinstance(config, TrainConfig):
        return None
    query = sa.select(runs).where(runs.c.id == clean(config.checkpoint, 40), _seen(connection, owner_id))
    row = connection.execute(query.with_for_update(read=True, key_share=True)).one_or_none()  # can't be deleted now
    if row is None:
        raise Refused(Problem("checkpoint", f"no run {config.checkpoint!r}; give the id of a training run"))
    if row.kind != "train":
        raise Refused(Problem("checkpoint", f"run {row.id} is of kind {row.kind}; give the id of a training run"))
    if State(row.state) in FINAL and row.checkpoint is None:
        raise Refused(Problem("checkpoint", f"run {row.id} has {row.state} without a checkpoint; choose another"))
    return row


def _guess(connection: sa.Connection, config: RunConfig, inputs: list[dict[str, str]]) -> int:
    """Bytes that a run may need at its start; 0 where nobody knows."""
    if not isinstance(config, TrainConfig):
        return 0
    ids = [row["dataset_id"] for row in inputs]
    side = (
        connection.execute(sa.select(sa.func.max(datasets.c.size)).where(datasets.c.id.in_(ids))).scalar() if ids else 0
    )
    return start_bytes(config, (side or 0) ** 2)


def _seen(connection: sa.Connection, owner_id: str) -> sa.ColumnElement[bool]:
    """The condition on runs that somebody may refer to."""
    return owned(seen_by(owner_id, find(connection, owner_id).role))


def _inputs(connection: sa.Connection, config: RunConfig, source: sa.Row[Any] | None) -> list[dict[str, str]]:
    """Datasets by the names that the configuration gives them (its own, or those of the training run's task)."""
    if source is not None and config.task is None:
        inherited = sa.select(run_datasets.c.name, run_datasets.c.dataset_id).where(run_datasets.c.run == source.number)
        return [dict(row._mapping) for row in connection.execute(inherited)]
    found, problems = [], []
    for name in dict.fromkeys(input_names(config)):
        dataset_id = _dataset_id(connection, name)
        if dataset_id is None:
            field = "task." + next(field for field, value in vars(config.task).items() if value == name)
            problems.append(Problem(field, f"no dataset {name!r}; upload it first, or name one that is listed"))
        else:
            found.append({"name": name, "dataset_id": dataset_id})
    if problems:
        raise Refused(*problems)
    return found


def _dataset_id(connection: sa.Connection, name: str) -> str | None:
    """Of the dataset with this id or name, which can't be deleted until the transaction ends."""
    if "\0" in name:
        return None
    query = sa.select(datasets.c.id).where(sa.or_(datasets.c.id == name, datasets.c.name == name))
    query = query.order_by(datasets.c.id != name).limit(1).with_for_update(read=True, key_share=True)
    return connection.execute(query).scalar()


def _earlier(connection: sa.Connection, config: RunConfig, owner_id: str, key: str | None) -> Run | None:
    """The run that this key made before."""
    if key is None:
        return None
    row = connection.execute(_BY_KEY, {"owner_id": owner_id, "key": key}).one_or_none()
    if row is None:
        return None
    if row.config_hash != config_hash(config):
        raise Conflict(f"the idempotency key {key!r} was used for another configuration; use a new key")
    return load(connection, [row.number])[0]
