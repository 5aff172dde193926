"""New runs: checked against what they refer to and queued, in one transaction."""

from __future__ import annotations

import base64
import secrets
import time
from typing import Any

import sqlalchemy as sa

from laser_core.config import SCHEMA_VERSION, MazeTask, RunConfig, SudokuTask, TrainConfig, config_hash, input_names
from laser_core.estimate import start_bytes
from laser_core.schema import Problem, to_json
from store import checkouts, inspections, waits
from store.database import write
from store.dialect import insert
from store.errors import Conflict, Refused
from store.policy import BANDS
from store.requests import Request
from store.runs import Run, load, of_row, owned
from store.states import FINAL, State
from store.tables import datasets, events, run_datasets, run_tags, runs, users
from store.text import clean
from store.users import find, seen_by
from store.waits import find_after

# Built once: SQLAlchemy takes longer to build a statement than SQLite to carry it out, and runs are submitted by the hundred.
_NEW_TAG, _NEW_EVENT = sa.insert(run_tags), sa.insert(events)
_OWNER_NAME = sa.select(users.c.name).where(users.c.id == sa.bindparam("id"))
_BY_KEY = sa.select(runs.c.number, runs.c.config_hash).where(
    runs.c.owner_id == sa.bindparam("owner_id"), runs.c.idempotency_key == sa.bindparam("key")
)


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

    Raises Conflict for the same key with another configuration, Refused when the devices can't share it, or when a dataset, the
    checkpoint's run or one to come after isn't there or not the owner's to see.
    """
    now = time.time() if now is None else now
    with write(engine) as connection:
        return queue_run(connection, config, owner_id, idempotency_key, request=request, now=now)


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
    _check_gpus(config, request.gpus)
    source = _source(connection, config, owner_id)
    inputs = _inputs(connection, config, source)
    content = inspections.content_of(connection, config, source, inputs)
    if content and (number := inspections.number_with(connection, content, _seen(connection, owner_id))):
        return load(connection, [number])[0], False
    values = row_values(config, source, now) | {"owner_id": owner_id, "idempotency_key": idempotency_key}
    band = BANDS["high" if config.kind == "inspect" else request.priority]
    values |= {"band": band, "pool": clean(request.pool, 40), "time_limit_s": request.time_limit_s}
    memory = request.memory_bytes or _guess(connection, config, inputs, request.gpus)
    values |= {"gpus": request.gpus, "content": content, "memory_asked": request.memory_bytes, "memory": memory}
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
    checkout = checkouts.attach(connection, row.number, request.checkout) if request.checkout else None
    data = {"state": "queued", "from": "", "reason": ""}
    event = {"run": row.number, "seq": 1, "time": now, "kind": "state", "epoch": 0, "data": data}
    connection.execute(_NEW_EVENT, event)
    owner_name = connection.execute(_OWNER_NAME, {"id": owner_id}).scalar_one()
    return of_row(row, owner_name, tags, list(after), {}, checkout), True


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


def _check_gpus(config: RunConfig, gpus: int) -> None:
    """Raises Refused for what several devices can't share."""
    if gpus == 1:
        return
    if not isinstance(config, TrainConfig):
        raise Refused(Problem("gpus", f"only training is shared by several devices; expected 1 for kind {config.kind}"))
    if rest := config.training.batch_size % gpus:
        size = config.training.batch_size
        message = f"a batch of {size} puzzles can't be shared evenly by {gpus} devices; choose a multiple of {gpus}"
        raise Refused(Problem("training.batch_size", f"{message}, such as {size + gpus - rest}, or other gpus"))


def _guess(connection: sa.Connection, config: RunConfig, inputs: list[dict[str, str]], gpus: int) -> int:
    """Bytes that a run may need at its start on each of its devices; 0 where nobody knows."""
    if not isinstance(config, TrainConfig):
        return 0
    ids = [row["dataset_id"] for row in inputs]
    side = (
        connection.execute(sa.select(sa.func.max(datasets.c.size)).where(datasets.c.id.in_(ids))).scalar() if ids else 0
    )
    return start_bytes(config, (side or 0) ** 2, gpus)


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
