"""The two servers under test, each a process of its own on a free port of loopback, and the lean client that asks them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from client.broker import answers_ping, broker_url, valkey_command

MLFLOW_VERSION = "3.17.2"
MLFLOW_VENV = Path(".cache/mlflow/venv")
READY_S = 400.0


class Failed(Exception):
    """An answer that isn't a success; the text holds status and body."""


@dataclass
class Http:
    """One kept-alive connection. http.client, as a client's own work must not be what is measured."""

    port: int
    headers: Mapping[str, str]
    _connection: http.client.HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> bytes:
        """The answer's body. Raises Failed, OSError."""
        kind = {"Content-Type": "application/json"} if body is not None else {}
        sent = {**self.headers, **kind, **(headers or {})}
        try:
            response = self._answer(method, path, body, sent)
        except http.client.RemoteDisconnected:  # the server closes connections that were idle for 5 s
            self._connection.close()
            response = self._answer(method, path, body, sent)
        answer = response.read()
        if response.status >= 300:
            raise Failed(f"{method} {path}: {response.status} {answer[:300].decode(errors='replace')}")
        return answer

    def _answer(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        self._connection.request(method, path, body, headers)
        return self._connection.getresponse()

    def json(self, method: str, path: str, data: Any = None) -> Any:
        return json.loads(self.ask(method, path, None if data is None else json.dumps(data).encode()))

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True)
class Server:
    """A running server: ``home`` is ours' LASER_HOME, or the folder of MLflow's database."""

    port: int
    pid: int
    home: Path
    headers: Mapping[str, str]

    def client(self) -> Http:
        return Http(self.port, self.headers)

    def cpu_s(self) -> float:
        """Processor time that its process has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mib(self) -> float:
        """Resident memory of its process."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@contextlib.contextmanager
def our_server(home: Path, broker_url: str = "") -> Iterator[Server]:
    """The API on ``home``'s SQLite database, as `laser up` starts it; every request carries its token."""
    port = _free_port()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LASER_")}
    environ |= {"LASER_HOME": str(home), "LASER_PORT": str(port), "LASER_BROKER_URL": broker_url}
    with _running([sys.executable, "-m", "api"], environ, home / "api.log", port, "/api/v1/health") as process:
        token = (home / "token").read_text().strip()
        yield Server(port, process.pid, home, {"Authorization": f"Bearer {token}"})


@contextlib.contextmanager
def mlflow_server(home: Path) -> Iterator[Server]:
    """MLflow's server on SQLite with its default number of processes. It has no authentication by default and is given none,
    which favours it."""
    port = _free_port()
    home.mkdir(parents=True, exist_ok=True)
    environ = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environ.pop("PYTHONPATH", None)
    argv = [str(MLFLOW_VENV / "bin" / "python"), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    argv += ["--backend-store-uri", f"sqlite:///{home}/mlflow.db", "--default-artifact-root", str(home / "artifacts")]
    # On a busy machine its processes would be killed as dead after 5 s of silence, and idle connections closed.
    argv += ["--uvicorn-opts", "--timeout-worker-healthcheck 120 --timeout-keep-alive 120"]
    with _running(argv, environ, home / "mlflow.log", port, "/health") as process:
        yield Server(port, process.pid, home, {})


@contextlib.contextmanager
def broker(folder: Path) -> Iterator[str]:
    """URL of a Valkey server of its own; ``folder``'s path must be short."""
    socket_path = folder / "valkey.sock"
    command = valkey_command(folder, socket_path, folder / "broker.log")
    process = subprocess.Popen(command.argv, env=command.env, stdout=subprocess.DEVNULL)
    try:
        while not answers_ping(socket_path):
            assert process.poll() is None, (folder / "broker.log").read_text()
            time.sleep(0.05)
        yield broker_url(socket_path)
    finally:
        process.terminate()
        process.wait(20)


def install_mlflow() -> None:
    """MLflow in a virtual environment of its own, unless it is there. Raises CalledProcessError."""
    python = MLFLOW_VENV / "bin" / "python"
    wanted = ["-c", f"from importlib.metadata import version; assert version('mlflow') == '{MLFLOW_VERSION}'"]
    if python.exists() and subprocess.run([python, *wanted], capture_output=True).returncode == 0:
        return
    print(f"bench-service: installing MLflow {MLFLOW_VERSION} into {MLFLOW_VENV} (a few minutes)", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", MLFLOW_VENV], check=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"mlflow=={MLFLOW_VERSION}"]
    subprocess.run(pip, check=True)


@contextlib.contextmanager
def _running(
    argv: list[str], environ: dict[str, str], log: Path, port: int, health: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A server in a session of its own, once it answers; it and all its processes end with the block."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(argv, env=environ, stdout=output, stderr=output, start_new_session=True)
    try:
        _wait_until_ready(process, log, port, health)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path, port: int, health: str) -> None:
    deadline = time.monotonic() + READY_S
    while process.poll() is None and time.monotonic() < deadline:
        client = Http(port, {})
        try:
            client.ask("GET", health)
            return
        except (OSError, Failed, http.client.HTTPException):
            time.sleep(0.2)
        finally:
            client.close()
    raise RuntimeError(f"{log.name}: the server didn't start:\n{log.read_text()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
