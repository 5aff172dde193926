"""Child processes of the local stack: each ends when its parent does, however the parent ends.

A child is tied to its parent by PR_SET_PDEATHSIG (Linux), so that not even SIGKILL of ``laser up`` leaves an orphan. The
kernel binds that tie to the *thread* that forked: start children from the main thread only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LOG_LIMIT_BYTES = 16 * 2**20

_PR_SET_PDEATHSIG = 1
# Looked up here and not in the child: between fork and exec nothing may be imported or allocated needlessly.
_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


@dataclass(frozen=True)
class Command:
    """What to run: ``name`` is what people read; ``log`` receives standard output and error."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path


class Process:
    """One running child in a session of its own, so that Ctrl-C in the terminal reaches only its parent."""

    def __init__(self, command: Command) -> None:
        """Starts it. Raises OSError when the program can't be run."""
        self.command = command
        self.started_s = time.monotonic()
        self._popen = _spawn(command)
        self.pid = self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self._popen.poll()

    def terminate(self) -> None:
        """Asks the child (not its own children) to stop."""
        if self.exit_code is None:
            self._popen.terminate()

    def kill(self) -> None:
        """Ends the child and everything left in its process group, and waits until the child is gone."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody left in the group
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()

    def wait(self, timeout_s: float, is_cut_short: Callable[[], bool] = lambda: False) -> bool:
        """Whether it ended within ``timeout_s``; stops waiting early when ``is_cut_short`` says so."""
        deadline = time.monotonic() + timeout_s
        while self.exit_code is None:
            if time.monotonic() >= deadline or is_cut_short():
                return False
            time.sleep(0.02)
        return True

    def log_tail(self, lines: int = 12) -> str:
        """The last lines of its log, for error messages."""
        try:
            with self.command.log.open("rb") as file:
                file.seek(max(0, self.command.log.stat().st_size - 16_384))
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


@contextmanager
def signals_held() -> Iterator[None]:
    """Delays Ctrl-C and termination, so that none falls between the start of a child and its being written down."""
    held = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _spawn(command: Command) -> subprocess.Popen[bytes]:
    assert threading.current_thread() is threading.main_thread(), "the tie to the parent is bound to the forking thread"
    command.log.parent.mkdir(parents=True, exist_ok=True)
    if command.log.exists() and command.log.stat().st_size > LOG_LIMIT_BYTES:
        command.log.replace(command.log.with_suffix(".log.1"))
    parent = os.getpid()

    def tie() -> None:
        if _prctl is not None:
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it died before the tie held
                os.kill(os.getpid(), signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the parent may have signals held; exec would keep that

    with command.log.open("ab") as log:
        return subprocess.Popen(
            list(command.argv),
            env=dict(command.env),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=tie,
        )
