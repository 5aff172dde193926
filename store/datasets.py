"""Uploaded puzzle files: checked row by row, named by their content, kept as they came."""

from __future__ import annotations

import hashlib
import io
import itertools
import math
import os
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import sqlalchemy as sa
import structlog

from laser_core.puzzle_file import PuzzleRow, scan_csv
from laser_core.schema import Problem
from store.blobs import Blobs, of_dataset
from store.database import read, write
from store.dialect import insert
from store.errors import Conflict, NotFound, Refused, Unreachable
from store.settings import Settings
from store.tables import datasets, run_datasets, runs

log = structlog.stdlib.get_logger("store.datasets")

READ_BYTES = 2**20
PREVIEW_BYTES = 2**20  # more than the rows that are looked at can have
_NAME = re.compile(r"[^\W_][\w .+()-]{0,119}")


@dataclass(frozen=True)
class Dataset:
    """``id`` comes from the content; ``rows`` puzzles of a ``size`` × ``size`` grid."""

    id: str
    name: str
    owner: str | None
    sha256: str
    rows: int
    size: int
    size_bytes: int
    created_at: float


def add(
    engine: sa.Engine,
    settings: Settings,
    name: str,
    stream: BinaryIO,
    owner_id: str | None = None,
    *,
    now: float | None = None,
) -> tuple[Dataset, bool]:
    """Stores a CSV file: (the dataset, whether it is new). The same content again gives the dataset that is there, under
    its first name.

    Raises PuzzleFileError (line, field, message) for a broken file, Refused for a bad name or too large a file, Conflict
    when the name belongs to another content. Whatever is raised, nothing is left behind.
    """
    now = time.time() if now is None else now
    if not _NAME.fullmatch(name):
        shown = name[:60].encode("ascii", "backslashreplace").decode()
        raise Refused(Problem("name", f"expected 1 to 120 letters, digits, spaces and . _ + ( ) -, got {shown!r}"))
    settings.datasets_dir.mkdir(parents=True, exist_ok=True)
    part = settings.datasets_dir / f".{secrets.token_hex(8)}.part"
    try:
        sha256, size_bytes = _receive(stream, part, settings.max_upload_bytes)
        with part.open("rb") as file:
            size, rows = _measure(file)
        values: dict[str, Any] = {"id": f"d_{sha256[:12]}", "name": name, "owner_id": owner_id, "sha256": sha256}
        values |= {"rows": rows, "size": size, "size_bytes": size_bytes, "created_at": now}
        return _register(engine, settings.blobs, values, part)
    finally:
        part.unlink(missing_ok=True)


def list_datasets(engine: sa.Engine) -> list[Dataset]:
    """Newest first."""
    with read(engine) as connection:
        rows = connection.execute(sa.select(datasets).order_by(datasets.c.created_at.desc(), datasets.c.id)).all()
    return [_dataset(row) for row in rows]


def get(engine: sa.Engine, name_or_id: str) -> Dataset:
    """Raises NotFound."""
    with read(engine) as connection:
        return _dataset(_find(connection, name_or_id))


def preview(engine: sa.Engine, settings: Settings, name_or_id: str, rows: int = 10) -> list[PuzzleRow]:
    """The first rows. Raises NotFound."""
    blob = of_dataset(get(engine, name_or_id).id)
    try:
        first = next(settings.blobs.read(blob, 0, PREVIEW_BYTES))
        return list(itertools.islice(scan_csv(io.BytesIO(first)), rows))
    except NotFound:
        raise NotFound(f"the file of dataset {name_or_id!r} is gone; delete the dataset and upload it again") from None


def delete(engine: sa.Engine, settings: Settings, name_or_id: str) -> None:
    """Raises NotFound, and Conflict while a run names it."""
    with write(engine) as connection:
        row = _find(connection, name_or_id, lock=True)
        used = sa.select(runs.c.id).join(run_datasets, run_datasets.c.run == runs.c.number)
        run_id = connection.execute(used.where(run_datasets.c.dataset_id == row.id).limit(1)).scalar()
        if run_id:
            raise Conflict(f"run {run_id} uses dataset {row.name!r}; delete that run first")
        connection.execute(sa.delete(datasets).where(datasets.c.id == row.id))
        if settings.blobs.is_here:
            # Before the commit: an upload of the same content waits for it, then brings its own file.
            settings.blobs.remove(of_dataset(row.id))
    if not settings.blobs.is_here and not _is_listed(engine, row.id):
        try:  # after the commit, as others would wait for the bucket
            settings.blobs.remove(of_dataset(row.id))
        except Unreachable as error:
            log.warning("the file of a deleted dataset is left", dataset=row.id, reason=str(error))


def _receive(stream: BinaryIO, part: Path, limit: int) -> tuple[str, int]:
    """Writes the stream to ``part``: (sha256, bytes)."""
    digest, size = hashlib.sha256(), 0
    with part.open("xb") as file:
        while block := stream.read(READ_BYTES):
            size += len(block)
            if size > limit:
                raise Refused(
                    Problem("file", f"larger than the {limit / 2**20:.4g} MiB allowed (LASER_MAX_UPLOAD_BYTES)")
                )
            digest.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest(), size


def _measure(file: BinaryIO) -> tuple[int, int]:
    """(side of the grid, number of puzzles) of a file found good to its end."""
    cells, count = 0, 0
    for row in scan_csv(file):
        cells, count = len(row.question), count + 1
    return math.isqrt(cells), count


def _register(engine: sa.Engine, blobs: Blobs, values: dict[str, Any], part: Path) -> tuple[Dataset, bool]:
    """Adds the row and puts the file in its place, both or neither; into a bucket the file goes first, as others wait for a
    transaction: its key is made of its content, so it is the right one in any case."""
    blob, placed = of_dataset(values["id"]), False
    if not blobs.is_here:
        _check_free(engine, values)
        if blobs.sizes([blob]) == [None]:
            blobs.move_in(blob, part)
    try:
        with write(engine) as connection:
            statement = insert(connection, datasets).values(values).on_conflict_do_nothing()
            added = connection.execute(statement.returning(datasets.c.id)).one_or_none() is not None
            row = connection.execute(sa.select(datasets).where(datasets.c.id == values["id"])).one_or_none()
            if row is None:
                raise _taken(values["name"])
            if blobs.is_here and (added or blobs.sizes([blob]) == [None]):
                blobs.move_in(blob, part)
                placed = added
    except BaseException:
        if placed:
            blobs.remove(blob)
        raise
    if not blobs.is_here and part.exists() and blobs.sizes([blob]) == [None]:
        blobs.move_in(blob, part)  # it was there, and went with a dataset that was deleted meanwhile
    return _dataset(row), added


def _is_listed(engine: sa.Engine, dataset_id: str) -> bool:
    with read(engine) as connection:
        return connection.execute(sa.select(datasets.c.id).where(datasets.c.id == dataset_id)).first() is not None


def _check_free(engine: sa.Engine, values: dict[str, Any]) -> None:
    with read(engine) as connection:
        other = sa.and_(datasets.c.name == values["name"], datasets.c.id != values["id"])
        if connection.execute(sa.select(datasets.c.id).where(other)).first():
            raise _taken(values["name"])


def _taken(name: str) -> Conflict:
    return Conflict(f"the name {name!r} belongs to a dataset with other content; choose another name")


def _find(connection: sa.Connection, name_or_id: str, lock: bool = False) -> sa.Row[Any]:
    if "\0" not in name_or_id:
        query = sa.select(datasets).where(sa.or_(datasets.c.id == name_or_id, datasets.c.name == name_or_id))
        query = query.order_by(datasets.c.id != name_or_id).limit(1)
        row = connection.execute(query.with_for_update() if lock else query).one_or_none()
        if row is not None:
            return row
    raise NotFound(f"no dataset {name_or_id[:120]!r}; `laser datasets list` names them")


def _dataset(row: sa.Row[Any]) -> Dataset:
    same = {name: getattr(row, name) for name in Dataset.__dataclass_fields__ if name != "owner"}
    return Dataset(**same, owner=row.owner_id)
