"""The directory that holds everything of one installation (``LASER_HOME``, by default ``~/.laser``), and who runs on it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from client.errors import LaserError

DEFAULT_URL = "http://127.0.0.1:8420"


@dataclass(frozen=True)
class Running:
    """The local stack at work on a home: ``pid`` of its ``laser up``; ``url`` is empty until it answers."""

    pid: int
    url: str
    started_at: float


class InUse(LaserError):
    """Another stack works on this home; ``running`` is None when it has not said who it is yet."""

    def __init__(self, path: Path, running: Running | None) -> None:
        self.running = running
        who = f"process {running.pid}" if running else "another process"
        super().__init__(
            f"A stack is already running on {path} ({who}). Stop it first, or set LASER_HOME to another place."
        )


@dataclass(frozen=True)
class Home:
    """Paths under one LASER_HOME; none needs to exist yet."""

    path: Path

    @classmethod
    def from_environment(cls) -> Home:
        """The home that LASER_HOME names, else ``~/.laser``."""
        return cls(Path(os.environ.get("LASER_HOME") or "~/.laser").expanduser().absolute())

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def token(self) -> str:
        """The local user's token; empty when the platform never started here."""
        try:
            return (self.path / "token").read_text().strip()
        except OSError:
            return ""

    def token_for(self, url: str) -> str:
        """The token to show at ``url``: LASER_TOKEN, else this home's own, which never leaves the machine."""
        is_here = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
        return os.environ.get("LASER_TOKEN") or (self.token if is_here else "")

    def url(self) -> str:
        """Where the platform is: LASER_URL, else the stack running on this home, else the default address."""
        running = None if os.environ.get("LASER_URL") else self.running()
        return os.environ.get("LASER_URL") or (running.url if running else "") or DEFAULT_URL

    def running(self) -> Running | None:
        """The stack at work on this home. The lock tells, not the file's content: a killed stack leaves no false trace."""
        try:
            with self._lock_file.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return _read(file.read())
        except OSError:
            pass
        return None

    @contextmanager
    def taken(self) -> Iterator[Taken]:
        """Holds this home for one stack. Raises InUse when another one has it."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock_file.open("a+") as file:
            if not _locked(file.fileno()):
                raise InUse(self.path, self.running())
            taken = Taken(file.fileno())
            taken.announce("")
            try:
                yield taken
            finally:
                os.ftruncate(file.fileno(), 0)

    @property
    def _lock_file(self) -> Path:
        return self.path / "stack.json"


@dataclass(frozen=True)
class Taken:
    """The held lock of a home."""

    fd: int

    def announce(self, url: str) -> None:
        """Lets other commands find this stack at ``url``."""
        text = json.dumps(asdict(Running(os.getpid(), url, time.time())))
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, text.encode(), 0)


def _locked(fd: int) -> bool:
    for _ in range(10):  # ``running`` of another command holds the lock for a moment
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.02)
    return False


def _read(text: str) -> Running | None:
    try:
        return Running(**json.loads(text))
    except (ValueError, TypeError):
        return None
