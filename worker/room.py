"""Room on the disks that a worker writes to."""

from __future__ import annotations

import errno
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from store.settings import MIB, Settings

REST_S = 60.0
LOOK_S = 2.0


def is_no_room(error: BaseException) -> bool:
    """Whether a full disk or a used-up quota is the cause: nothing is wrong with the run."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def lack(settings: Settings) -> str:
    """Why runs have no place here: too little is free where checkpoints and spools go. Empty where they have one."""
    try:
        for folder in (settings.artifacts_dir, settings.spool_dir):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if (free := shutil.disk_usage(folder).free / MIB) < settings.min_free_mib:
                return f"{free:.0f} MiB free in {folder}, {settings.min_free_mib} wanted (LASER_MIN_FREE_MIB)"
    except OSError as error:
        return f"no use of {folder}: {error.strerror or error}"
    return ""


class Look:
    """Asks for ``lack`` in a thread: who has other things to do must not wait for a network's file system that hangs."""

    def __init__(self) -> None:
        self._answer: Future[str] = Future()
        self._answer.set_result("")

    def lack(self, settings: Settings) -> str:
        """As ``lack``; no answer within ``LOOK_S`` is a lack as well."""
        if self._answer.done():
            answer = self._answer = Future[str]()
            threading.Thread(target=lambda: answer.set_result(lack(settings)), name="look", daemon=True).start()
        try:
            return self._answer.result(LOOK_S)
        except TimeoutError:
            return f"no answer from {settings.artifacts_dir} or {settings.spool_dir} within {LOOK_S:g} s"


@dataclass
class Rest:
    """A pause after a run that found no room: a used-up quota doesn't show in what the disk has free."""

    _until: float = 0.0

    def begin(self) -> None:
        """From now on."""
        self._until = time.monotonic() + REST_S

    @property
    def is_over(self) -> bool:
        """Whether a run may be tried again."""
        return time.monotonic() >= self._until


def clear(settings: Settings, run_id: str, epoch: int) -> None:
    """Removes what this attempt and earlier ones left here: what the database lacks of theirs is computed again."""
    for path in left_behind(settings, f"{run_id}-*"):
        number = path.name.removeprefix(f"{run_id}-").partition(".")[0]
        if number.isdigit() and int(number) <= epoch:
            remove(path)


def remove_later_checkpoints(directory: Path, checkpoint: str | None) -> None:
    """Those of a lost attempt that the database never heard of: they would outlive the ones that the next attempt saves."""
    for folder in (directory / "checkpoints").glob("step-*"):
        if checkpoint is None or folder.name > checkpoint:
            shutil.rmtree(folder)


def left_behind(settings: Settings, pattern: str) -> Iterator[Path]:
    """What attempts have of their own here: their files in the spool, and folders where what they save is kept elsewhere."""
    yield from settings.spool_dir.glob(pattern)
    if not settings.blobs.is_here:
        yield from settings.artifacts_dir.glob(pattern)


def remove(path: Path) -> None:
    """A file or a folder; no error where it is gone."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
