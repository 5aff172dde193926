"""Files that runs leave behind, found by id, wherever they are kept (``store.blobs``)."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from laser_core.inspection import FILE, Inspection, from_json
from store.blobs import Blob, of_run
from store.database import read
from store.errors import NotFound
from store.runs import number_of, owned
from store.settings import Settings
from store.states import State
from store.tables import artifacts, runs
from store.users import Owners


@dataclass(frozen=True)
class Artifact:
    """One file of a checkpoint (``folder`` is the checkpoint's name), or a report in the run's own folder (``folder`` empty);
    ``size_bytes`` is None when it is gone."""

    id: str
    run_id: str
    kind: str
    folder: str
    name: str
    step: int
    sha256: str
    size_bytes: int | None
    created_at: float


_columns = sa.select(artifacts, runs.c.id.label("run_id")).join(runs, runs.c.number == artifacts.c.run)


def require_artifact(engine: sa.Engine, artifact_id: str, owners: Owners) -> None:
    """Raises NotFound unless there is such an artifact of a run of one of ``owners``."""
    with read(engine) as connection:
        _row(connection, artifact_id, owners)


def new_id() -> str:
    """Id for another artifact."""
    return "a_" + base64.b32encode(secrets.token_bytes(8)).decode().lower()[:12]


def list_artifacts(engine: sa.Engine, settings: Settings, run_id: str) -> list[Artifact]:
    """Newest checkpoint first, then reports. Raises NotFound for the run."""
    with read(engine) as connection:
        rows = files_of(connection, runs.c.number == number_of(connection, run_id))
    sizes = settings.blobs.sizes([blob_of(row) for row in rows])
    return [_artifact(row, size) for row, size in zip(rows, sizes, strict=True)]


def get(engine: sa.Engine, settings: Settings, artifact_id: str) -> tuple[Artifact, Blob]:
    """The artifact and where its file is. Raises NotFound when either is gone."""
    with read(engine) as connection:
        row = _row(connection, artifact_id)
    blob = blob_of(row)
    settings.blobs.local(blob)
    (size,) = settings.blobs.sizes([blob])
    if size is None:
        raise NotFound(f"the file of artifact {artifact_id} is gone; newer checkpoints replace older ones")
    return _artifact(row, size), blob


def files_of(connection: sa.Connection, of: sa.ColumnElement[bool]) -> list[sa.Row[Any]]:
    """Rows for ``blob_of`` of everything listed of the run that meets a condition, newest checkpoint first."""
    return list(connection.execute(_columns.where(of).order_by(artifacts.c.step.desc(), artifacts.c.name)))


def keys(engine: sa.Engine, run_id: str) -> set[str]:
    """Where in a bucket all files are that are listed of a run; none of one that is gone."""
    with read(engine) as connection:
        return {blob_of(row).key for row in files_of(connection, runs.c.id == run_id)}


def blob_of(row: sa.Row[Any]) -> Blob:
    """Where the file of a row of ``artifacts`` with its ``run_id`` is kept."""
    return of_run(row.run_id, row.epoch, path_in_run(row.folder, row.name))


def path_in_run(folder: str, name: str) -> str:
    """Path below a run's directory, as laser_core.run lays it out: a report has no ``folder``."""
    return f"checkpoints/{folder}/{name}" if folder else name


def read_inspection(engine: sa.Engine, settings: Settings, run_id: str) -> Inspection:
    """What an inspection found. Raises NotFound for the run, for one of another kind, and before it has succeeded."""
    with read(engine) as connection:
        number = number_of(connection, run_id)
        kind, state = connection.execute(sa.select(runs.c.kind, runs.c.state).where(runs.c.number == number)).one()
        reports = [
            blob_of(row)
            for row in files_of(connection, runs.c.number == number)
            if (row.folder, row.name) == ("", FILE)
        ]
    if kind != "inspect":
        raise NotFound(f"run {run_id} is of kind {kind}; only an inspection has this")
    if state != State.succeeded:
        raise NotFound(f"run {run_id} is {state}; there is an answer once it has succeeded")
    try:
        return from_json(json.loads(b"".join(settings.blobs.read(reports[0]))))
    except (NotFound, LookupError, ValueError, TypeError) as error:
        raise NotFound(f"the file of inspection {run_id} is gone or can't be read ({error}); inspect again") from error


def _row(connection: sa.Connection, artifact_id: str, owners: Owners = None) -> sa.Row[Any]:
    if "\0" in artifact_id:  # PostgreSQL refuses it in any text
        raise NotFound("no such artifact")
    row = connection.execute(_columns.where(artifacts.c.id == artifact_id, owned(owners))).one_or_none()
    if row is None:
        raise NotFound(f"no artifact {artifact_id!r}")
    return row


def _artifact(row: sa.Row[Any], size_bytes: int | None) -> Artifact:
    same = {name: getattr(row, name) for name in Artifact.__dataclass_fields__ if name != "size_bytes"}
    return Artifact(**same, size_bytes=size_bytes)
