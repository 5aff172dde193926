"""Room on the disks that a worker writes to."""

from __future__ import annotations

import errno
import shutil

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
