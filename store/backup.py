"""A copy of the database, with or without the files of runs, that either database can be made from again.

``python -m store.backup make FILE [--files]`` and ``python -m store.backup restore FILE`` print what they did as JSON.

The file is a zip: ``manifest.json`` names the schema revision and, of every other member, rows or bytes and the sha256;
``tables/NAME.jsonl`` has a row a line, bytes as {"b": base64}; ``files/`` is as under LASER_HOME.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import itertools
import json
import os
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

import sqlalchemy as sa

from store import database, dialect
from store.columns import PackedText
from store.settings import Settings
from store.states import FINAL, LEASED, RELEASED, State, move
from store.tables import runs

FORMAT = 1
PIECE = 2**20
FENCE = 1000  # more attempts than a run was begun between a backup and the moment when it is restored
FOLDERS = ("artifacts", "datasets")  # of LASER_HOME


class BackupError(Exception):
    """A backup that can't be made or used; the text says why and what to do."""


@dataclass(frozen=True)
class Member:
    """``columns`` are empty for a file."""

    sha256: str
    bytes: int
    columns: list[str] = field(default_factory=list)
    rows: int = 0


@dataclass(frozen=True)
class Manifest:
    """``counters`` are the last numbers given out, by table: a deleted run's number never comes back."""

    format: int
    revision: str
    made_at: float
    counters: dict[str, int]
    members: dict[str, Member]

    def summary(self) -> dict[str, Any]:
        tables = [member for member in self.members.values() if member.columns]
        files = len(self.members) - len(tables)
        return {"schema": self.revision, "rows": sum(member.rows for member in tables), "files": files}


def make(engine: sa.Engine, settings: Settings, target: Path, with_files: bool = False) -> Manifest:
    """Writes ``target`` (mode 0600), whole or not at all, while the platform goes on; raises BackupError, OSError.

    Rows are those of one moment. Files are copied after: of a run in training it may be newer checkpoints than the rows
    name, from which the run goes on just the same.
    """
    if target.exists():
        raise BackupError(f"{target} exists already; choose another name")
    if with_files and not settings.blobs.is_here:
        raise BackupError(
            f"files are in {settings.artifacts_url}: leave --files out and back the bucket up by its own means"
        )
    partial = target.with_name(target.name + ".part")
    try:
        with _private(partial) as stream, zipfile.ZipFile(stream, "w") as archive:
            members: dict[str, Member] = {}
            with database.snapshot(engine) as connection:
                revision = database.version_seen(connection)
                if revision is None:
                    raise BackupError("there is nothing to back up: the database is empty")
                tables = _tables(connection)
                counters = dialect.counters(connection, tables)
                for table in tables:
                    members[f"tables/{table.name}.jsonl"] = _write_table(archive, connection, table)
            if with_files:
                members |= _write_files(archive, settings.home)
            manifest = Manifest(FORMAT, revision, time.time(), counters, members)
            archive.writestr("manifest.json", json.dumps(asdict(manifest), indent=1))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return manifest


def restore(engine: sa.Engine, settings: Settings, source: Path) -> Manifest:
    """Fills an empty database, and the files where the backup has them; then brings the schema to the newest, and takes every
    run from the worker that had it.

    Everything is checked before anything is written, and the database is filled in one transaction. Raises BackupError.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            manifest = read_manifest(archive)
            _require_whole(archive, manifest)
            if not settings.blobs.is_here and any(not member.columns for member in manifest.members.values()):
                raise BackupError(
                    "the backup holds files: restore it without LASER_ARTIFACTS_URL, then move them (docs/deploy.md)"
                )
            _require_room(engine, settings, manifest)
            for name, member in manifest.members.items():
                if not member.columns:
                    _extract(archive, name, settings.home)
            with database.write(engine) as connection:
                database.upgrade(connection, manifest.revision)
                for table in _tables(connection):
                    _fill(archive, connection, table, manifest)
                dialect.set_counters(connection, manifest.counters)
                database.upgrade(connection, database.head())
                _fence(connection, time.time())
    except (zipfile.BadZipFile, zlib.error) as error:
        raise BackupError(f"{source} is no backup, or damaged: {error}") from error
    return manifest


def read_manifest(archive: zipfile.ZipFile) -> Manifest:
    """Raises BackupError for one that this version can't read."""
    try:
        raw = json.loads(archive.read("manifest.json"))
        members = {name: Member(**member) for name, member in raw["members"].items()}
        manifest = Manifest(**{**raw, "members": members})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BackupError(f"{archive.filename} has no manifest that can be read: {error}") from error
    if manifest.format != FORMAT or manifest.revision not in database.revisions():
        raise BackupError(
            f"the backup has format {manifest.format} and schema {manifest.revision}; this version knows format {FORMAT} "
            f"and schemas up to {database.head()}: restore it with the laser-lab that made it, or a newer one"
        )
    return manifest


# --- making ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _private(path: Path) -> Iterator[IO[bytes]]:
    """A new file of mode 0600, on the disk for good when the block is left."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


class _Member:
    """Writes one member and measures it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.hash, self.bytes = stream, hashlib.sha256(), 0

    def write(self, piece: bytes) -> None:
        self.stream.write(piece)
        self.hash.update(piece)
        self.bytes += len(piece)


def _tables(connection: sa.Connection) -> list[sa.Table]:
    """As they are in the database, each after those that it refers to; JSON is text, however it is kept."""
    metadata = sa.MetaData()
    metadata.reflect(connection)
    if "runs" in metadata.tables:
        metadata.tables["runs"].c.config.type = PackedText()
    return [table for table in metadata.sorted_tables if table.name != "alembic_version"]


def _write_table(archive: zipfile.ZipFile, connection: sa.Connection, table: sa.Table) -> Member:
    info = zipfile.ZipInfo(f"tables/{table.name}.jsonl")
    info.compress_type, rows = zipfile.ZIP_DEFLATED, 0
    with archive.open(info, "w", force_zip64=True) as stream:
        out = _Member(stream)
        for row in connection.execute(sa.select(table).order_by(*table.primary_key)):
            out.write(json.dumps(list(row), default=_bytes, separators=(",", ":")).encode() + b"\n")
            rows += 1
    return Member(out.hash.hexdigest(), out.bytes, [column.name for column in table.columns], rows)


def _write_files(archive: zipfile.ZipFile, home: Path) -> dict[str, Member]:
    members = {}
    for file in sorted(path for folder in FOLDERS for path in (home / folder).rglob("*")):
        name = f"files/{file.relative_to(home).as_posix()}"
        with contextlib.suppress(FileNotFoundError):  # an old checkpoint, gone meanwhile
            if file.is_file() and not file.is_symlink():
                members[name] = _write_file(archive, file, name)
    return members


def _write_file(archive: zipfile.ZipFile, file: Path, name: str) -> Member:
    """Not packed: weights don't get smaller."""
    with file.open("rb") as source, archive.open(name, "w", force_zip64=True) as stream:
        out = _Member(stream)
        while piece := source.read(PIECE):
            out.write(piece)
    return Member(out.hash.hexdigest(), out.bytes)


def _bytes(value: Any) -> dict[str, str]:
    return {"b": base64.b64encode(value).decode()}


# --- restoring ---------------------------------------------------------------------------------------------------------


def _require_whole(archive: zipfile.ZipFile, manifest: Manifest) -> None:
    if set(archive.namelist()) != {"manifest.json", *manifest.members}:
        raise BackupError(f"{archive.filename} is damaged: its files aren't those of its manifest")
    for name, member in manifest.members.items():
        digest = hashlib.sha256()
        with archive.open(name) as stream:
            while piece := stream.read(PIECE):
                digest.update(piece)
        if digest.hexdigest() != member.sha256:
            raise BackupError(f"{archive.filename} is damaged: {name} has another checksum")


def _require_room(engine: sa.Engine, settings: Settings, manifest: Manifest) -> None:
    with database.read(engine) as connection:
        taken = sa.inspect(connection).get_table_names()
    if taken:
        raise BackupError(
            "the database isn't empty, and nothing is overwritten: move the SQLite file away (with its -wal and -shm), "
            "or name a new database in LASER_DATABASE_URL"
        )
    for name, member in manifest.members.items():
        if not member.columns and (place := _place(name, settings.home)).exists():
            raise BackupError(f"{place} exists already, and nothing is overwritten: move it away, or set LASER_HOME")


def _place(name: str, home: Path) -> Path:
    """Where a file goes: below ``home`` in one of its two folders, whatever the archive says."""
    parts = PurePosixPath(name).parts
    if (
        len(parts) < 3
        or parts[0] != "files"
        or parts[1] not in FOLDERS
        or ".." in parts
        or "\0" in name
        or "\\" in name
    ):
        raise BackupError(f"the backup names a file that doesn't belong in a home: {name[:200]!r}")
    return home.joinpath(*parts[1:])


def _extract(archive: zipfile.ZipFile, name: str, home: Path) -> None:
    place = _place(name, home)
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with archive.open(name) as source, _private(place) as target:
        while piece := source.read(PIECE):
            target.write(piece)


def _fill(archive: zipfile.ZipFile, connection: sa.Connection, table: sa.Table, manifest: Manifest) -> None:
    name = f"tables/{table.name}.jsonl"
    if name not in manifest.members:
        raise BackupError(f"{archive.filename} is damaged: the table {table.name} is missing")
    columns = manifest.members[name].columns
    with archive.open(name) as stream:
        rows = (dict(zip(columns, json.loads(line, object_hook=_unpacked), strict=True)) for line in stream)
        while batch := list(itertools.islice(rows, database.ROWS_AT_ONCE)):
            connection.execute(sa.insert(table), batch)


def _fence(connection: sa.Connection, now: float) -> None:
    """A worker that outlived the database of which this is the backup may write to no run: neither to one that it has here,
    nor to one that it got since, under an epoch that would be given out again."""
    held = sa.select(runs.c.number, runs.c.epoch, runs.c.state).where(runs.c.state.in_(LEASED))
    for row in connection.execute(held).all():
        target = RELEASED.get(State(row.state), State.queued)
        move(
            connection, row.number, row.epoch, State(row.state), target, "its database was restored from a backup", now
        )
    unfinished = sa.update(runs).where(runs.c.state.not_in(FINAL))
    connection.execute(unfinished.values(epoch=runs.c.epoch + FENCE))


def _unpacked(value: dict[str, str]) -> bytes:
    return base64.b64decode(value["b"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m store.backup")
    parser.add_argument("what", choices=["make", "restore"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--files", action="store_true", help="also artifacts and datasets")
    given, settings = parser.parse_args(), Settings()
    carry_out: Callable[[sa.Engine], Manifest] = (
        (lambda engine: make(engine, settings, given.file, given.files))
        if given.what == "make"
        else (lambda engine: restore(engine, settings, given.file))
    )
    try:
        manifest = carry_out(database.connect(settings.database_url))
    except (BackupError, OSError, ValueError, sa.exc.SQLAlchemyError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps({"file": str(given.file), **manifest.summary()}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
