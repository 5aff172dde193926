"""Fixtures of the client's tests: a home of one's own, and who still runs on it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture
def home_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty LASER_HOME; afterwards nothing may run on it."""
    path = tmp_path / "home"
    for name in list(os.environ):
        if name.startswith("LASER_") and not name.startswith("LASER_TEST"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LASER_HOME", str(path))
    yield path
    if not _gone(path):
        left = _processes(path)
        for line in left:
            os.kill(int(line.split()[0]), signal.SIGKILL)
        pytest.fail(f"still running on {path}: {left}")


@pytest.fixture
def processes_of() -> Callable[[Path], list[str]]:
    """Processes, by command line, that were started with this LASER_HOME."""
    return _processes


@pytest.fixture
def gone() -> Callable[[Path], bool]:
    """Whether nothing runs on a home any more, within a few seconds."""
    return _gone


def _gone(home: Path) -> bool:
    deadline = time.monotonic() + 10
    while _processes(home):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _processes(home: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.name != str(os.getpid()) and _is_on(home, process):
                state = (process / "stat").read_text().rpartition(")")[2].split()[0]
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if state not in "ZX":
                    found.append(f"{process.name} {command}")
    return found


def _is_on(home: Path, process: Path) -> bool:
    """By its environment; Valkey overwrites that with its title, but works in the home."""
    if f"LASER_HOME={home}".encode() in (process / "environ").read_bytes().split(b"\0"):
        return True
    return Path(os.readlink(process / "cwd")).is_relative_to(home)
