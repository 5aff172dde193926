"""Reading an archive (``store.archive``) of which nothing is believed before it is checked, sizes before contents.

Nothing is unpacked by the names in it: every entry must be one that the format knows.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.lib.format as npy
import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError

from laser_core.config import ConfigError, RunConfig, parse_run
from laser_core.schema import Problem
from store.archive import (
    CHECKOUT,
    CONFIG,
    CURVES,
    EVENTS,
    FACTS,
    MANIFEST,
    POINT,
    READ_BYTES,
    TRACES,
    Curve,
    Entry,
    Facts,
    curve_name,
)
from store.errors import Refused
from store.ingest import MOST_KEYS

DOCUMENT_BYTES, LINE_BYTES, DIRECTORY_BYTES = 8 * 2**20, 2**20, 4 * 2**20
POINTS = 2**16  # read together

_MANIFEST, _FACTS, _CURVES = TypeAdapter(dict[str, Entry]), TypeAdapter(Facts), TypeAdapter(list[Curve])
_DATA = TypeAdapter(dict[str, Any])


@contextlib.contextmanager
def told() -> Iterator[None]:
    """What zipfile, zlib, numpy and the database say of broken content, as Refused."""
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in (error.title, *first["loc"]))
        raise refused("archive", f"{where}: {first['msg']}") from error
    except ConfigError as error:
        raise Refused(*(Problem(f"{CONFIG}: {p.field}", p.message) for p in error.problems)) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError, UnicodeDecodeError) as error:
        raise refused("archive", f"can't be read as a zip file: {error}") from error
    except (sa.exc.DataError, OverflowError) as error:
        raise refused("archive", "holds a number that is too large to be stored") from error


class Archive:
    """The zip file, of known size and entries."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        _check_directory(file)
        self.zip = zipfile.ZipFile(file)
        infos = {info.filename: info for info in self.zip.infolist()}
        if len(infos) < len(self.zip.infolist()):
            raise refused("archive", "has two entries of one name")
        if sum(info.file_size for info in infos.values()) > limit:
            raise refused("archive", f"unpacks to more than {limit / 2**20:.4g} MiB (LASER_MAX_ARCHIVE_BYTES)")
        for name, info in infos.items():
            if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise refused(name[:200], "expected an entry without password, stored or deflated")
        self.sizes = {name: info.file_size for name, info in infos.items()}
        self.key = f"import {hashlib.sha256(self._document(MANIFEST)).hexdigest()}"
        self.manifest = _MANIFEST.validate_json(self._document(MANIFEST))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.zip.close()

    def checked(self) -> tuple[RunConfig, Facts, list[Curve]]:
        """The documents, once every entry is known to be whole and to belong there. Raises Refused."""
        if self.sizes.keys() != self.manifest.keys() | {MANIFEST}:
            odd = sorted(self.sizes.keys() ^ (self.manifest.keys() | {MANIFEST}))
            raise refused(odd[0][:200], "is in the archive or in its manifest, but not in both")
        for name, entry in self.manifest.items():
            if self._sha256(name) != entry.sha256 or self.sizes[name] != entry.size_bytes:
                raise refused(name[:200], "is damaged: its sha256 or size isn't the manifest's")
        config = parse_run(_DATA.validate_json(self._document(CONFIG)))
        facts = _FACTS.validate_json(self._document(FACTS))
        curves = _CURVES.validate_json(self._document(CURVES))
        self._check_belongings(facts, curves)
        return config, facts, curves

    def lines(self, name: str) -> Iterator[bytes]:
        with self.zip.open(name) as entry:
            while line := entry.readline(LINE_BYTES + 1):
                if len(line) > LINE_BYTES:
                    raise refused(name, f"has a line of more than {LINE_BYTES} bytes")
                yield line

    def points(self, place: int, count: int) -> Iterator[Any]:
        """Arrays of POINT, ``count`` points in all, a few together."""
        name = curve_name(place)
        with self.zip.open(name) as entry:
            try:
                is_known = npy.read_magic(entry) == (1, 0) and npy.read_array_header_1_0(entry) == (
                    (count,),
                    False,
                    POINT,
                )
            except ValueError:
                is_known = False
            if not is_known or self.sizes[name] != entry.tell() + count * POINT.itemsize:
                raise refused(name, f"expected {count} points of {POINT.descr}")
            while piece := entry.read(POINTS * POINT.itemsize):
                yield np.frombuffer(piece, POINT)

    def diff(self) -> bytes:
        """Of the checkout."""
        return self._document(CHECKOUT)

    def copy(self, name: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with self.zip.open(name) as entry, target.open("xb") as file:
            shutil.copyfileobj(entry, file, READ_BYTES)
            file.flush()
            os.fsync(file.fileno())

    def _check_belongings(self, facts: Facts, curves: list[Curve]) -> None:
        if len(curves) > MOST_KEYS:
            raise refused(CURVES, f"has more than {MOST_KEYS} metrics")
        entries = [file.entry for file in facts.files]
        known = {CONFIG, FACTS, EVENTS, TRACES, CURVES, *entries, *(curve_name(i) for i in range(len(curves)))}
        known |= {CHECKOUT} if facts.checkout else set()
        if known != self.manifest.keys() or len(set(entries)) < len(entries):
            raise refused(
                sorted(known ^ self.manifest.keys() or {FACTS})[0][:200], "doesn't belong to what run.json lists"
            )
        for file in facts.files:
            if self.manifest[file.entry].sha256 != file.sha256:
                raise refused(file.entry, "was damaged before it came into the archive: its sha256 isn't the run's")
            if bool(file.folder) != (file.kind == "checkpoint"):
                raise refused(FACTS, f"{file.name}: a checkpoint's file has a folder, and a report has none")

        if facts.checkout and self.manifest[CHECKOUT] != Entry(facts.checkout.sha256, facts.checkout.size_bytes):
            raise refused(CHECKOUT, "isn't the one that run.json tells of: its sha256 or size is another")

    def _document(self, name: str) -> bytes:
        if self.sizes.get(name, DOCUMENT_BYTES + 1) > DOCUMENT_BYTES:
            raise refused(name, f"expected a file of at most {DOCUMENT_BYTES} bytes of this name in the archive")
        return self.zip.read(name)

    def _sha256(self, name: str) -> str:
        digest = hashlib.sha256()
        with self.zip.open(name) as entry:
            while piece := entry.read(READ_BYTES):
                digest.update(piece)
        return digest.hexdigest()


def refused(field: str, message: str) -> Refused:
    """An archive that can't be taken: the part at fault, and why."""
    return Refused(Problem(field, message))


def _check_directory(file: BinaryIO) -> None:
    """Before zipfile reads the whole directory into memory: it is at the end, of a size that is told, and small."""
    file.seek(0, os.SEEK_END)
    end = file.tell()
    file.seek(max(0, end - 42))
    tail = file.read(42).rjust(42, b"\0")
    size = struct.unpack_from("<L", tail, 20 + 12)[0]
    if tail[:4] == b"PK\6\7":  # a zip64 locator: the size is in the record that it points to
        file.seek(min(struct.unpack_from("<Q", tail, 8)[0], end))
        size = struct.unpack_from("<Q", file.read(56).ljust(56, b"\xff"), 40)[0]
    if tail[20:24] != b"PK\5\6" or tail[40:] != b"\0\0":
        raise refused("archive", "isn't one that `laser export` wrote, or was cut off")
    if size > DIRECTORY_BYTES:
        raise refused("archive", "has too many entries")
