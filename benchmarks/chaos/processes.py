"""Processes of a lab as the kernel tells them: who trains which run for whom."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.platform import processes_of

_JOB = re.compile(r"/(r_[a-z0-9]+)-(\d+)\.job\.json")


@dataclass(frozen=True)
class Training:
    """A training process, the supervisor that started it and that one's Celery worker."""

    run: str
    epoch: int
    trainer: int
    supervisor: int
    worker: int


def trainings(home: Path) -> list[Training]:
    """Every training process that runs (or is stopped), oldest first."""
    found = []
    for pid, command in sorted(processes_of(str(home)).items()):
        job = _JOB.search(command)
        supervisor = _parent(_parent(pid)) if job else 0  # between them is the fork server
        if job and supervisor > 1 and (worker := _parent(supervisor)) > 1:
            found.append(Training(job[1], int(job[2]), pid, supervisor, worker))
    return found


def reconcilers(home: Path) -> list[int]:
    return sorted(pid for pid, command in processes_of(str(home)).items() if "worker.reconciler" in command)


def is_stopped(pid: int) -> bool:
    return _stat(pid)[:1] == ["T"]


def send(pid: int, number: signal.Signals) -> bool:
    """Whether there was such a process."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


def tree(pid: int) -> list[int]:
    """The process and all that descend from it."""
    parents = {int(entry.name): _parent(int(entry.name)) for entry in Path("/proc").glob("[0-9]*")}
    found = [pid]
    for parent in found:  # grows meanwhile
        found += [child for child, its in parents.items() if its == parent]
    return found


def signal_tree(pid: int, number: signal.Signals) -> list[int]:
    """Those that got it."""
    return [each for each in tree(pid) if send(each, number)]


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _parent(pid: int) -> int:
    return int(stat[1]) if len(stat := _stat(pid)) > 1 else 0
