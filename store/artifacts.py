"""Files that runs leave behind, found by id and resolved under one root."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from laser_core.inspection import FILE, Inspection, from_json
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
    ``size_bytes`` is None when it is gone from disk."""

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


def run_directory(settings: Settings, run_id: str) -> Path:
    """Folder of everything that a run leaves behind."""
    return settings.artifacts_dir / run_id


def checkpoint_directory(settings: Settings, run_id: str, folder: str) -> Path:
    """Folder of one checkpoint, as laser_core.run lays it out."""
    return run_directory(settings, run_id) / "checkpoints" / folder


def list_artifacts(engine: sa.Engine, settings: Settings, run_id: str) -> list[Artifact]:
    """Newest checkpoint first, then reports. Raises NotFound for the run."""
    with read(engine) as connection:
        query = _columns.where(artifacts.c.run == number_of(connection, run_id))
        rows = connection.execute(query.order_by(artifacts.c.step.desc(), artifacts.c.name)).all()
    return [_artifact(row, _file(settings, row)) for row in rows]


def get(engine: sa.Engine, settings: Settings, artifact_id: str) -> tuple[Artifact, Path]:
    """The artifact and its file. Raises NotFound when either is missing or the file lies outside ``artifacts_dir``."""
    with read(engine) as connection:
        row = _row(connection, artifact_id)
    file = _file(settings, row).resolve()
    if not file.is_relative_to(settings.artifacts_dir.resolve()) or not file.is_file():
        raise NotFound(f"the file of artifact {artifact_id} is gone from disk; newer checkpoints replace older ones")
    return _artifact(row, file), file


def read_inspection(engine: sa.Engine, settings: Settings, run_id: str) -> Inspection:
    """What an inspection found. Raises NotFound for the run, for one of another kind, and before it has succeeded."""
    with read(engine) as connection:
        found = sa.select(runs.c.kind, runs.c.state).where(runs.c.number == number_of(connection, run_id))
        kind, state = connection.execute(found).one()
    if kind != "inspect":
        raise NotFound(f"run {run_id} is of kind {kind}; only an inspection has this")
    if state != State.succeeded:
        raise NotFound(f"run {run_id} is {state}; there is an answer once it has succeeded")
    try:
        return from_json(json.loads((run_directory(settings, run_id) / FILE).read_bytes()))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise NotFound(f"the file of inspection {run_id} is gone or can't be read ({error}); inspect again") from error


def _row(connection: sa.Connection, artifact_id: str, owners: Owners = None) -> sa.Row[Any]:
    if "\0" in artifact_id:  # PostgreSQL refuses it in any text
        raise NotFound("no such artifact")
    row = connection.execute(_columns.where(artifacts.c.id == artifact_id, owned(owners))).one_or_none()
    if row is None:
        raise NotFound(f"no artifact {artifact_id!r}")
    return row


def _file(settings: Settings, row: sa.Row[Any]) -> Path:
    is_report = row.kind == "report"
    folder = (
        run_directory(settings, row.run_id) if is_report else checkpoint_directory(settings, row.run_id, row.folder)
    )
    return folder / str(row.name)


def _artifact(row: sa.Row[Any], file: Path) -> Artifact:
    size = file.stat().st_size if file.is_file() else None
    same = {name: getattr(row, name) for name in Artifact.__dataclass_fields__ if name != "size_bytes"}
    return Artifact(**same, size_bytes=size)
