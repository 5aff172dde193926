"""Where the files of runs and datasets are kept: folders below LASER_HOME, or S3-compatible object storage.

``Settings.blobs`` is one of the two, chosen once (docs/decisions/0012-object-storage.md). In the bucket nothing is ever
written twice under a key: the key of a run's file holds the attempt that saved it, a dataset's is made of its content.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

import structlog

from store.errors import NotFound, Unreachable

if TYPE_CHECKING:
    from obstore.store import S3Store

log = structlog.stdlib.get_logger("store.blobs")

PIECE_BYTES = 2**20
PART_KEPT_S = 86_400.0
REQUEST_BYTES = 8 * 2**20  # fetched together: no request lasts long, however slowly its receiver reads


@dataclass(frozen=True)
class Blob:
    """One file: ``path`` below LASER_HOME where it is in a folder, ``key`` below the prefix where it is in a bucket."""

    path: str
    key: str


def of_run(run_id: str, epoch: int, name: str) -> Blob:
    """The file ``name`` (a path) that attempt ``epoch`` at a run saved."""
    return Blob(f"artifacts/{run_id}/{name}", f"artifacts/{run_id}/{epoch}/{name}")


def of_dataset(dataset_id: str) -> Blob:
    """The file of a dataset."""
    return Blob(f"datasets/{dataset_id}.csv", f"datasets/{dataset_id}.csv")


class Blobs(Protocol):
    """What both can do. Every call may raise Unreachable."""

    is_here: bool  # whether files are kept where attempts write them

    def directory(self, run_id: str, epoch: int) -> Path:
        """Where an attempt at a run writes, on this machine."""

    def local(self, blob: Blob) -> Path | None:
        """The file on this machine; None where all are kept elsewhere. Raises NotFound, also for one that leads out of the
        home's folders."""

    def sizes(self, blobs: Sequence[Blob]) -> list[int | None]:
        """Bytes of each file of a run, None for one that is gone."""

    def read(self, blob: Blob, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Bytes ``start`` to ``end`` (exclusive) in pieces; the request is made before this returns. Raises NotFound."""

    def move_in(self, blob: Blob, file: Path) -> None:
        """Keeps ``file``, of the same folder below LASER_HOME, which is gone from its old place afterwards."""

    def remove(self, blob: Blob) -> None:
        """Nothing where it is gone already."""

    def remove_runs(self, run_ids: Sequence[str]) -> None:
        """All files of runs that are deleted; what can't be removed is left."""


class Folder:
    """Below ``home``, where everything that speaks to the database finds it."""

    is_here = True

    def __init__(self, home: Path) -> None:
        self._home = home

    def directory(self, run_id: str, epoch: int) -> Path:
        return self._home / "artifacts" / run_id

    def local(self, blob: Blob) -> Path | None:
        if (file := self._found(blob)) is None:
            raise _gone(blob)
        return file

    def sizes(self, blobs: Sequence[Blob]) -> list[int | None]:
        files = [self._home / blob.path for blob in blobs]
        return [file.stat().st_size if file.is_file() else None for file in files]

    def _found(self, blob: Blob) -> Path | None:
        """Its file, unless that is missing or leads out of the home's folders."""
        file = (self._home / blob.path).resolve()
        root = (self._home / blob.path.partition("/")[0]).resolve()
        return file if file.is_relative_to(root) and file.is_file() else None

    def read(self, blob: Blob, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        if (file := self._found(blob)) is None:
            raise _gone(blob)
        return _pieces(file.open("rb"), start, end)

    def move_in(self, blob: Blob, file: Path) -> None:
        target = self._home / blob.path
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)

    def remove(self, blob: Blob) -> None:
        (self._home / blob.path).unlink(missing_ok=True)

    def remove_runs(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            shutil.rmtree(self._home / "artifacts" / run_id, ignore_errors=True)


class Bucket:
    """Below a prefix of a bucket. Each attempt writes to a folder of its own below ``home``; what it saved is copied here."""

    is_here = False

    def __init__(self, url: str, home: Path, cache_bytes: int) -> None:
        """Reaches nothing yet. ``cache_bytes`` bound what ``fetch`` leaves in ``home``/cache."""
        self.url = url
        self._home, self._cache, self._cache_bytes = home, home / "cache", cache_bytes
        with _told(url):
            self._store = _connect(url)

    def directory(self, run_id: str, epoch: int) -> Path:
        return self._home / "artifacts" / f"{run_id}-{epoch}"

    def local(self, blob: Blob) -> Path | None:
        return None

    def sizes(self, blobs: Sequence[Blob]) -> list[int | None]:
        prefixes = {"/".join(blob.key.split("/")[:-1][:2]) for blob in blobs}
        found = {key: size for prefix in prefixes for key, size in self.list(prefix)}
        return [found.get(blob.key) for blob in blobs]

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """(key, bytes) of everything below ``prefix``."""
        import obstore

        with _told(self.url):
            for page in obstore.list(self._store, prefix):
                yield from ((each["path"], each["size"]) for each in page)

    def read(self, blob: Blob, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        end = 2**62 if end is None else end
        if end <= start:
            return iter(())
        try:
            first, size = self._range(blob, start, min(end, start + REQUEST_BYTES))
        except Unreachable as error:
            if error.code == "InvalidRange":  # nothing is there, as in an empty file
                return iter(())
            raise
        return self._ranges(first, blob, start + len(first), min(end, size))

    def put(self, blob: Blob, file: BinaryIO) -> None:
        """Keeps a copy, whole or not at all."""
        import obstore

        with _told(self.url):
            obstore.put(self._store, blob.key, file, chunk_size=REQUEST_BYTES, max_concurrency=4)

    def move_in(self, blob: Blob, file: Path) -> None:
        with file.open("rb") as stream:
            self.put(blob, stream)
        file.unlink()

    def remove(self, blob: Blob) -> None:
        self.delete([blob.key])

    def remove_runs(self, run_ids: Sequence[str]) -> None:
        left = list(run_ids)
        try:
            while left:
                self.delete([key for key, _ in self.list(f"artifacts/{left[-1]}")])
                left.pop()
        except Unreachable as error:
            log.warning("files of deleted runs are left", runs=left, reason=str(error))

    def delete(self, keys: Sequence[str]) -> None:
        """Those that are gone already are no error."""
        import obstore

        with _told(self.url):
            obstore.delete(self._store, keys)

    def fetch(self, blob: Blob, sha256: str, target: Path) -> None:
        """Makes ``target`` the file with this hash, from the bucket or from what was fetched before.

        Raises NotFound where it is gone or another.
        """
        self._cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        cached = self._cache / sha256
        with contextlib.suppress(FileNotFoundError):
            if _sha256(cached) == sha256:  # a power cut may have torn it
                os.utime(cached)
                _link(cached, target)  # stays whole when another process takes it out of the cache
                return
        part = self._cache / f"{sha256}.{secrets.token_hex(4)}.part"
        try:
            self._download(blob, sha256, part)
            _link(part, target)
            part.replace(cached)
        finally:
            part.unlink(missing_ok=True)
        self._shrink()

    def _download(self, blob: Blob, sha256: str, part: Path) -> None:
        digest = hashlib.sha256()
        with part.open("xb") as file:
            for piece in self.read(blob):
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != sha256:
            raise NotFound(f"{self.url}/{blob.key} is damaged: its sha256 isn't the one that was stored")

    def _shrink(self) -> None:
        """Takes the files that were used longest ago out of the cache."""
        left = self._cache_bytes
        for file in sorted(self._cache.iterdir(), key=_used_at, reverse=True):
            if file.suffix == ".part" and _used_at(file) > time.time() - PART_KEPT_S:
                continue  # on its way
            with contextlib.suppress(FileNotFoundError):
                if (size := file.stat().st_size) <= left:
                    left -= size
                else:
                    file.unlink()

    def _range(self, blob: Blob, start: int, end: int) -> tuple[bytes, int]:
        """(these bytes, size of the whole)."""
        import obstore

        with _told(self.url, blob):
            got = obstore.get(self._store, blob.key, options={"range": (start, end)})
            return bytes(got.bytes()), got.meta["size"]

    def _ranges(self, first: bytes, blob: Blob, start: int, end: int) -> Iterator[bytes]:
        yield first
        for at in range(start, end, REQUEST_BYTES):
            yield self._range(blob, at, min(end, at + REQUEST_BYTES))[0]


@functools.cache
def kept_at(url: str, home: Path, cache_bytes: int) -> Blobs:
    """The bucket of ``url``, or the folders below ``home`` where that is empty."""
    return Bucket(url, home, cache_bytes) if url else Folder(home)


def _connect(url: str) -> S3Store:
    """Endpoint, region and credentials come from the AWS_* environment variables."""
    from obstore.store import S3Store

    bucket, _, prefix = url.removeprefix("s3://").strip("/").partition("/")
    return S3Store(
        bucket,
        prefix=prefix or None,
        client_options={"allow_http": True, "connect_timeout": "5s", "timeout": "60s"},
        retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=10)},
    )


@contextlib.contextmanager
def _told(url: str, blob: Blob | None = None) -> Iterator[None]:
    """What the object storage says, as Unreachable, or as NotFound of ``blob``."""
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError as error:
        code, said = _said(error)
        if blob is not None and code != "NoSuchBucket":
            raise _gone(blob) from error
        raise Unreachable(f"{url} is refused: {said}", code) from error
    except (BaseError, ValueError) as error:
        code, said = _said(error)
        raise Unreachable(f"{url} {'is refused' if code else 'gives no answer'}: {said}", code) from error


def _said(error: Exception) -> tuple[str, str]:
    """(the server's code, what happened), out of a text of many lines."""
    text = str(error)
    if told := re.search(r"<Code>(.*?)</Code>.*?<Message>(.*?)</Message>", text, re.DOTALL):
        return told[1], f"{told[1]}: {told[2]}"
    first, _, rest = text.partition("\n")
    cause = re.search(r'message: "(.*?)"', rest)
    return "", (first.rpartition(" - ")[2] + (f" ({cause[1]})" if cause else ""))[:300]


def _gone(blob: Blob) -> NotFound:
    return NotFound(f"{blob.path} is gone; newer checkpoints replace older ones")


def _pieces(file: BinaryIO, start: int, end: int | None) -> Iterator[bytes]:
    with file:
        file.seek(start)
        left = float("inf") if end is None else end - start
        while piece := file.read(int(min(left, PIECE_BYTES))):
            left -= len(piece)
            yield piece


def _link(source: Path, target: Path) -> None:
    """A second name, or a copy where the file system has none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        shutil.copyfile(source, target)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _used_at(file: Path) -> float:
    with contextlib.suppress(FileNotFoundError):
        return file.stat().st_mtime
    return 0.0
