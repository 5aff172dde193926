"""Room on the disks that a worker writes to."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from store.settings import MIB, Settings


def is_no_room(error: BaseException) -> bool:
    """Whether a full disk or a used-up quota is the cause: nothing is wrong with the run."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def free_mib(settings: Settings) -> float:
    """MiB free where checkpoints and spools go, on the fuller of the two disks."""
    folders = (settings.artifacts_dir, settings.spool_dir)
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return min(shutil.disk_usage(folder).free for folder in folders) / MIB


def clear(settings: Settings, run_id: str, epoch: int) -> None:
    """Removes what this attempt and earlier ones left here: what the database lacks of theirs is computed again."""
    # below artifacts_dir only what is kept elsewhere is an attempt's own
    for folder in (settings.spool_dir, settings.artifacts_dir):
        for path in folder.glob(f"{run_id}-*"):
            number = path.name.removeprefix(f"{run_id}-").partition(".")[0]
            if number.isdigit() and int(number) <= epoch:
                remove(path)


def remove(path: Path) -> None:
    """A file or a folder; no error where it is gone."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
