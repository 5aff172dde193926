"""The real worker and the real training process, with labelled points at which the harness may strike them.

    python -m benchmarks.chaos.points worker benchmarks.chaos.points|standin CELERY-OPTIONS

A point is armed by the file ``<LASER_HOME>/chaos/<label>``. The first process to pass it takes the file, writes down what
it was at work on, and is struck. The product's own code knows nothing of this: the points wrap its functions from outside.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from laser_core.events import CheckpointSaved, Event, Result
from worker import trainer as process
from worker.spool import SpoolWriter

# In the training process: at the n-th call that changes the disk while a checkpoint is saved (15 of them), or where the
# disk is full; with the checkpoint on disk but told nobody; while it or the result is told, and after.
TRAINER = ("save-boundary", "save-no-room", "saved", "tell-checkpoint", "told-checkpoint", "tell-result", "told-result")
# In the supervisor: with a claim and no training process; with one; before and after the transaction that points the
# database at a checkpoint; before and after the one that ends the run.
SUPERVISOR = ("claimed", "started", "before-pointer", "after-pointer", "before-finish", "after-finish")
LABELS = (*TRAINER, *SUPERVISOR)
BOUNDARIES = 15

FOLDER = Path(os.environ.get("LASER_HOME", ".")) / "chaos"
_work: dict[str, Any] = {}  # the training process's run and epoch; a supervisor's are in its log's context


def arm(folder: Path, label: str, at: int = 1) -> None:
    """Strikes whoever passes ``label`` next, at its ``at``-th call where the label counts them."""
    (folder / label).write_text(str(at))


def taken(folder: Path, label: str) -> dict[str, Any] | None:
    """Who was struck there: its run, epoch and time; None while nobody was."""
    file = folder / f"{label}.taken"
    return json.loads(file.read_text()) if file.exists() else None


def _take(label: str) -> int:
    """What the harness wrote down where it armed ``label``, for exactly one process; else 0."""
    armed = FOLDER / label
    if not armed.exists():
        return 0
    mine = armed.with_name(f"{label}.{os.getpid()}")
    try:
        armed.rename(mine)
    except FileNotFoundError:
        return 0
    at = int(mine.read_text())
    mine.unlink()
    return at


def _note(label: str) -> None:
    work = _work or structlog.contextvars.get_contextvars()
    text = json.dumps({"run": work.get("run"), "epoch": work.get("epoch"), "time": time.time()})
    unfinished = FOLDER / f"{label}.noting"
    unfinished.write_text(text)
    unfinished.rename(FOLDER / f"{label}.taken")


def _die(label: str) -> None:
    _note(label)
    os.kill(os.getpid(), signal.SIGKILL)


def _pass(label: str) -> None:
    if _take(label):
        _die(label)


# --- the worker --------------------------------------------------------------------------------------------------------


def _around(module: Any, name: str, before: Callable[..., None], after: Callable[..., None]) -> None:
    original = getattr(module, name)

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        before(*args)
        answer = original(*args, **kwargs)
        after(*args, answer)
        return answer

    setattr(module, name, call)


def _nothing(*_: Any) -> None:
    pass


def worker(trainer: str, options: list[str]) -> None:
    """Celery's worker, whose supervisors pass points and have ``trainer`` forked: this module, or the stand-in."""
    from store import claims
    from worker import app, supervisor
    from worker.forkserver import ForkServer

    def has_checkpoint(*args: Any) -> bool:
        events: list[Event] = args[5]
        return any(isinstance(event, CheckpointSaved) for event in events)

    def claimed(*args: Any) -> None:
        if (claim := args[-1]) is not None:
            with structlog.contextvars.bound_contextvars(run=claim.run_id, epoch=claim.epoch):
                _pass("claimed")

    def pointer(label: str) -> Callable[..., None]:
        return lambda *args: _pass(label) if has_checkpoint(*args) else None

    _around(claims, "claim_run", _nothing, claimed)
    _around(claims, "finish", lambda *_: _pass("before-finish"), lambda *_: _pass("after-finish"))
    _around(supervisor, "ingest", pointer("before-pointer"), pointer("after-pointer"))
    _around(ForkServer, "start", _nothing, lambda *_: _pass("started"))
    app.TRAINER = trainer
    app.app.worker_main(["worker", *options])


# --- the training process ----------------------------------------------------------------------------------------------


def load() -> None:
    process.load()


def main(job: str) -> int:
    """The training process."""
    run, _, epoch = Path(job).name.removesuffix(".job.json").rpartition("-")
    _work.update(run=run, epoch=int(epoch))
    from laser_core import run as runner

    save, append = runner.save, SpoolWriter.append

    def saving(*args: Any) -> CheckpointSaved:
        full = _take("save-no-room")
        at = full or _take("save-boundary")
        if not at:
            saved = save(*args)
        else:
            with _Boundaries("save-no-room" if full else "save-boundary", at):
                saved = save(*args)
        _pass("saved")
        return saved

    def telling(spool: SpoolWriter, event: Event) -> None:
        name = {CheckpointSaved: "checkpoint", Result: "result"}.get(type(event), "")
        if name and _take(f"tell-{name}"):
            spool._file.write(b'12345678 {"type":"Che')  # torn by the kill
            _die(f"tell-{name}")
        append(spool, event)
        if name:
            _pass(f"told-{name}")

    runner.save = saving
    SpoolWriter.append = telling
    return process.main(job)


class _Boundaries:
    """Inside the block the ``at``-th call that changes the disk is the last one, or finds no room."""

    calls = ((Path, "mkdir"), (Path, "open"), (Path, "rename"), (os, "fsync"), (shutil, "rmtree"))

    def __init__(self, label: str, at: int) -> None:
        self.label, self.left = label, at
        self.originals = [getattr(owner, name) for owner, name in self.calls]

    def __enter__(self) -> None:
        for (owner, name), original in zip(self.calls, self.originals, strict=True):
            setattr(owner, name, self._watched(original))

    def __exit__(self, *_: Any) -> None:
        for (owner, name), original in zip(self.calls, self.originals, strict=True):
            setattr(owner, name, original)

    def _watched(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                self.__exit__()
                if self.label == "save-boundary":
                    _die(self.label)
                _note(self.label)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return original(*args, **kwargs)

        return call


if __name__ == "__main__":
    assert sys.argv[1] == "worker"
    worker(sys.argv[2], sys.argv[3:])
