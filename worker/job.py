"""What a supervisor hands to the training process: one JSON file."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Exit codes of the training process.
DONE = 0  # its Result is in the spool
FAILED = 1  # the reason is the last error in the spool
LOST = 69  # another process of the run is gone (EX_UNAVAILABLE)
TOO_BIG = 71  # it needed more memory than it was given (EX_OSERR)
NO_ROOM = 73  # the disk is full; nothing is wrong with the run (EX_CANTCREAT of sysexits.h)
STOPPED = 75  # asked to by SIGTERM, with a checkpoint where there was something to save (EX_TEMPFAIL of sysexits.h)
SIGNALLED = 128  # and the number of the signal that killed a process of several


@dataclass(frozen=True)
class Job:
    """Arguments of ``laser_core.run.execute`` as JSON, and where to append the events."""

    config: dict[str, Any]
    directory: str
    resume: str | None
    files: dict[str, str]
    checkpoint: str | None
    spool: str
    threads: int
    memory_bytes: int = 0  # it may hold on its device; 0 for any number
    processes: int = 1  # that train together, each on a device of its own

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Job:
        return cls(**json.loads(path.read_text()))
