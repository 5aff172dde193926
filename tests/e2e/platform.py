"""A whole platform for tests and benchmarks: `laser up` with real parts in a home of its own, driven over HTTP only."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

LASER = Path(sys.executable).with_name("laser")
FINAL = {"succeeded", "failed", "cancelled"}


def eventually(what: str, holds: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """The first true answer of ``holds``; fails with ``what`` after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if answer := holds():
            return answer
        time.sleep(0.1)
    raise AssertionError(f"{what} did not happen within {timeout_s:.0f} s")


def processes_of(marker: str) -> dict[int, str]:
    """Command lines by process id of everything that was started with ``marker`` in its environment."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if marker.encode() in (entry / "environ").read_bytes():
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if command and state != "Z":
                    found[int(entry.name)] = command
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


@dataclass
class Platform:
    """A running `laser up`: ``http`` speaks to its API with its token."""

    home: Path
    url: str
    process: subprocess.Popen[bytes]
    http: httpx.Client

    def pids(self, *words: str) -> list[int]:
        """Processes of this platform whose command line holds every one of ``words``, oldest first."""
        return sorted(pid for pid, command in processes_of(str(self.home)).items() if all(w in command for w in words))

    def answer(self, method: str, path: str, **options: Any) -> Any:
        """JSON of a request that may meet the API while it restarts; fails on an error status."""

        def ask() -> httpx.Response | None:
            try:
                return self.http.request(method, path, **options)
            except httpx.TransportError:
                return None

        response = eventually(f"{method} {path}", ask)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else None

    def submit(self, config: dict[str, Any]) -> str:
        return str(self.answer("POST", "/runs", json=config)["id"])

    def run(self, run_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.answer("GET", f"/runs/{run_id}")
        return answer

    def finished(self, run_id: str, timeout_s: float = 120.0) -> dict[str, Any]:
        """The run once its state is final."""

        def final() -> dict[str, Any] | None:
            run = self.run(run_id)
            return run if run["state"] in FINAL else None

        try:
            ended: dict[str, Any] = eventually(f"the end of {run_id}", final, timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.run(run_id)}") from None
        return ended

    def points(self, run_id: str, key: str) -> list[tuple[int, float]]:
        """Every stored point of a metric, as (step, value), from the CSV export."""
        text = self.http.get(f"/runs/{run_id}/metrics.csv").text
        header, *rows = [line.split(",") for line in text.split()]
        step, name, value = (header.index(column) for column in ("step", "key", "value"))
        return [(int(row[step]), float(row[value])) for row in rows if row[name] == key]


def start_platform(home: Path, **settings: str) -> Platform:
    """`laser up` in ``home``; LASER_* settings by lower-case name."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    quick = {"lease_s": "4", "heartbeat_s": "1", "reconcile_s": "1", **settings}
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("LASER_")},
        **{f"LASER_{name.upper()}": value for name, value in quick.items()},
        "LASER_HOME": str(home),
    }
    log = home.parent / f"{home.name}-up.log"
    command = [str(LASER), "up", "--no-open", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    http = httpx.Client(base_url=f"{url}/api/v1", timeout=20)

    def ready() -> bool:
        assert process.poll() is None, f"laser up ended: {log.read_text()[-2000:]}"
        try:
            return http.get("/health").is_success and (home / "token").exists()
        except httpx.TransportError:
            return False

    eventually("the start of the platform", ready, 180)
    http.headers["Authorization"] = f"Bearer {(home / 'token').read_text().strip()}"
    return Platform(home, url, process, http)


def stop_platform(platform: Platform) -> None:
    """Stops as Ctrl-C does, and fails when a process is left."""
    platform.http.close()
    platform.process.send_signal(signal.SIGINT)
    try:
        platform.process.wait(45)
    finally:
        platform.process.kill()
    eventually("the end of every process", lambda: not processes_of(str(platform.home)), 10)
