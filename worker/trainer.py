"""The training process: ``python -m worker.trainer JOB.json``, forked from one that has loaded torch (worker.forkserver). A job
for several processes is carried out by as many of them, started by ``worker.launch`` with the launcher's pid.

It knows neither database nor broker: it carries out the run and appends what happens to the spool. SIGTERM makes it end
after the step at hand, with a checkpoint.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laser_core.config import RunConfig, TrainConfig, parse_run
from laser_core.events import Event, Log, Memory, Peak, Progress, Result, Started
from worker.job import DONE, FAILED, LOST, NO_ROOM, STOPPED, TOO_BIG, Job
from worker.process import tie_to_parent
from worker.room import is_no_room
from worker.spool import SpoolWriter

if TYPE_CHECKING:
    from laser_core.budget import Budget

TOLD_AGAIN = 1.05  # a peak is told again when it has grown by so much


def load() -> None:
    """Everything that takes long to load."""
    import torch

    import laser_core.run  # noqa: F401

    torch.optim.SGD([torch.zeros(1)], lr=1.0)  # the first optimizer loads torch's compiler: as long again


def main(path: str, launcher: str = "") -> int:
    """Exit code: one of worker.job's."""
    try:
        return _main(path, launcher)
    finally:
        _let_go_of_output()


def _let_go_of_output() -> None:
    """Python would end with an exit code of its own where it can't write out what it still holds, as on a full disk."""
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except OSError:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (open until the end)


def _main(path: str, launcher: str) -> int:
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started the worker
    job = Job.load(Path(path))
    if launcher:
        tie_to_parent(int(launcher))
    elif job.processes > 1:
        from worker.launch import launch

        return STOPPED if stopping.is_set() else launch(Path(path), job.processes)
    spool = (SpoolWriter if _leads() else _Follower)(Path(job.spool))
    warnings.showwarning = lambda message, *_, **__: spool.append(Log(str(message), "warning"))
    try:
        return _carry_out(job, spool, stopping)
    except Exception as error:
        if type(error).__name__ == "PeerLost":  # laser_core.distributed's
            return LOST
        with contextlib.suppress(OSError):  # the output's disk may be the full one,
            traceback.print_exc()
        if _leads() or not isinstance(error, ValueError | FloatingPointError):  # those come to all processes alike
            with contextlib.suppress(OSError):  # and the spool's
                spool.append(Log(_described(error), "error"))
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the second is torch's
            return TOO_BIG
        return NO_ROOM if is_no_room(error) else FAILED
    finally:
        spool.close()


def _leads() -> bool:
    return os.environ.get("RANK", "0") == "0"  # the launcher's


class _Follower(SpoolWriter):
    """Of a process beside the first: it tells of what went wrong here alone; the rest all know alike."""

    def append(self, event: Event) -> None:
        if isinstance(event, Log) and event.level == "error":
            super().append(event)


def _carry_out(job: Job, spool: SpoolWriter, stopping: threading.Event) -> int:
    config = parse_run(job.config)
    from laser_core.run import execute

    inputs: dict[str, Any] = {"files": {name: Path(file) for name, file in job.files.items()}}
    inputs |= {"checkpoint": Path(job.checkpoint) if job.checkpoint else None, "threads": job.threads}
    is_done = False
    with _budget(job, config) as budget:
        gauge = Gauge(budget) if budget else None
        for event in execute(config, Path(job.directory), resume=job.resume, wants_pause=stopping.is_set, **inputs):
            spool.append(event)
            for peak in gauge.read(event) if gauge else ():
                spool.append(peak)
            is_done = isinstance(event, Result)
            if stopping.is_set() and not isinstance(config, TrainConfig):
                break  # nothing to save
    return DONE if is_done else STOPPED


def _budget(job: Job, config: RunConfig) -> contextlib.AbstractContextManager[Budget | None]:
    if not job.memory_bytes:
        return contextlib.nullcontext()
    from laser_core.budget import Budget
    from laser_core.device import choose_device

    return Budget(job.memory_bytes, choose_device(config.device).type == "cuda")


class Gauge:
    """Tells how much memory the run holds, once a step after its first is over: the first one holds more where bases are yet
    to come."""

    def __init__(self, budget: Budget) -> None:
        self._budget, self._told = budget, 0
        self._since: int | None = None  # the step after which the peak is counted

    def read(self, event: Event) -> Iterator[Peak]:
        match event:
            case Started(step, _, _, parameters):
                self._budget.has_weights(parameters)
                self._since = step or None
            case Memory(step) if self._since is None:
                self._since = step
                self._budget.restart()
            case Progress(step) if self._has_stepped(step) and self._budget.peak > TOLD_AGAIN * self._told:
                self._told = self._budget.peak
                yield Peak(step, self._told)

    def _has_stepped(self, step: int) -> bool:
        return self._since is not None and step > self._since


def _described(error: Exception) -> str:
    """A ConfigError or OSError explains itself; of others the type is half of the message."""
    text = str(error)
    return text if text and isinstance(error, ValueError | OSError | MemoryError) else f"{type(error).__name__}: {text}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
