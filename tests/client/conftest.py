"""Fixtures of the client's tests: a platform to talk to; a home of one's own, and who still runs on it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from client.cli import main
from client.http import Client
from client.ports import free_port

LASER = Path(sys.executable).with_name("laser")


@dataclass(frozen=True)
class Done:
    """What a command left."""

    returncode: object
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Server:
    """A platform on ``home``; ``laser`` runs a command against it."""

    home: Path
    url: str
    pid: int

    def laser(self, *arguments: str, **settings: str) -> Done:
        """In this process: a command takes a second to start on a busy machine. ``settings`` go to the environment."""
        output, errors = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {"LASER_HOME": str(self.home), **settings}.items():
                patch.setenv(name, value)
            with (
                contextlib.redirect_stdout(output),
                contextlib.redirect_stderr(errors),
                pytest.raises(SystemExit) as ended,
            ):
                main(list(arguments))
        return Done(ended.value.code, output.getvalue(), errors.getvalue())

    def json(self, *arguments: str) -> Any:
        done = self.laser(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def client(self) -> Client:
        return Client(self.url, (self.home / "token").read_text().strip())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("client") / "home"
    port = str(free_port(20_000 + os.getpid() % 10_000))
    with subprocess.Popen(
        [LASER, "up", "--json", "--workers", "0", "--port", port],
        env={**os.environ, "LASER_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        line = process.stdout.readline()
        assert line, process.stderr and process.stderr.read()
        started = json.loads(line)
        assert started["login_url"].startswith(f"http://127.0.0.1:{port}/login?code=")
        yield Server(home, started["url"], started["pid"])
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


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
