"""The pipe between a training process and its supervisor: a file of checksummed JSON lines that only grows.

A line is the crc32 of its JSON in eight hex digits, a space, and the JSON of one event. The training process appends and
never waits for anybody; the supervisor reads on from the byte that the database has stored. So a database that is away
costs disk space and nothing else.
"""

from __future__ import annotations

import errno
import json
import os
import zlib
from pathlib import Path

from laser_core.events import CheckpointSaved, Event, Result, from_json, to_json

BATCH_BYTES = 512 * 1024


class SpoolError(ValueError):
    """A whole line that isn't what was written: the disk, or somebody, changed it."""


class SpoolWriter:
    """Appends events, one system call each, so that a kill leaves at most one torn line at the end."""

    def __init__(self, path: Path) -> None:
        """Opens or creates ``path``. Raises OSError."""
        self._file = path.open("ab", buffering=0)

    def append(self, event: Event) -> None:
        """Raises OSError when the line can't be written whole (disk full)."""
        text = json.dumps(to_json(event), separators=(",", ":")).encode()
        line = b"%08x %s\n" % (zlib.crc32(text), text)
        if (written := self._file.write(line)) != len(line):
            # A part of a line would make the next one look damaged.
            os.ftruncate(self._file.fileno(), self._file.tell() - written)
            raise OSError(
                errno.ENOSPC, f"{self._file.name}: no room for an event of {len(line)} bytes; free some disk space"
            )
        if isinstance(event, CheckpointSaved | Result):  # what the database will rely on
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def read(
    path: Path, offset: int, most_bytes: int = BATCH_BYTES, alone: tuple[type[Event], ...] = ()
) -> tuple[list[Event], int]:
    """Events from byte ``offset`` on, about ``most_bytes`` of them, and the byte after the last.

    One of a type in ``alone`` comes without others.
    A torn last line is left for later. Nothing when the file doesn't exist yet. Raises SpoolError.
    """
    events: list[Event] = []
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return events, offset
    with file:
        file.seek(offset)
        for line in file.readlines(most_bytes):
            if not line.endswith(b"\n"):
                break
            event = _event(line, path, offset)
            is_alone = isinstance(event, alone)
            if events and is_alone:
                break
            events.append(event)
            offset += len(line)
            if is_alone:
                break
    return events, offset


def mend(path: Path, offset: int) -> None:
    """Cuts a torn last line off; only once the writer is dead. ``offset`` is any line's start."""
    if path.exists():
        _, end = read(path, offset, most_bytes=2**62)
        os.truncate(path, end)


def _event(line: bytes, path: Path, offset: int) -> Event:
    checksum, _, text = line[:-1].partition(b" ")
    try:
        if int(checksum, 16) == zlib.crc32(text):
            return from_json(json.loads(text))
    except ValueError:  # no checksum, no JSON, or no event
        pass
    raise SpoolError(f"{path}: the line at byte {offset} is damaged")
