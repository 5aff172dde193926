"""The training process: ``python -m worker.trainer JOB.json``. The only part of the worker that loads torch.

It knows neither database nor broker: it carries out the run and appends what happens to the spool. SIGTERM makes it end
after the step at hand, with a checkpoint.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import traceback
import warnings
from pathlib import Path
from typing import Any

from laser_core.config import TrainConfig, parse_run
from laser_core.events import Log, Result
from worker.job import DONE, FAILED, NO_ROOM, STOPPED, Job
from worker.room import is_no_room
from worker.spool import SpoolWriter


def main(path: str) -> int:
    """Exit code: one of worker.job's."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())  # before torch is loaded, which takes seconds
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started the worker
    job = Job.load(Path(path))
    spool = SpoolWriter(Path(job.spool))
    warnings.showwarning = lambda message, *_, **__: spool.append(Log(str(message), "warning"))
    try:
        return _carry_out(job, spool, stopping)
    except Exception as error:
        traceback.print_exc()
        with contextlib.suppress(OSError):  # the spool's disk may be the full one
            spool.append(Log(_described(error), "error"))
        return NO_ROOM if is_no_room(error) else FAILED
    finally:
        spool.close()


def _carry_out(job: Job, spool: SpoolWriter, stopping: threading.Event) -> int:
    config = parse_run(job.config)
    from laser_core.run import execute

    inputs: dict[str, Any] = {"files": {name: Path(file) for name, file in job.files.items()}}
    inputs |= {"checkpoint": Path(job.checkpoint) if job.checkpoint else None, "threads": job.threads}
    is_done = False
    for event in execute(config, Path(job.directory), resume=job.resume, wants_pause=stopping.is_set, **inputs):
        spool.append(event)
        is_done = isinstance(event, Result)
        if stopping.is_set() and not isinstance(config, TrainConfig):
            break  # nothing to save
    return DONE if is_done else STOPPED


def _described(error: Exception) -> str:
    """A ConfigError or OSError explains itself; of others the type is half of the message."""
    text = str(error)
    return text if text and isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {text}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
