"""A platform of the harness's own: the services of ``laser up``, kept running by the same code, and a database to take away."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import redis
import sqlalchemy as sa

from benchmarks.chaos.databases import Database, Postgres, SQLite
from benchmarks.chaos.network import Machine, broker, network
from benchmarks.chaos.processes import Training, trainings
from client.errors import Refused, Unreachable
from client.home import Home
from client.http import Client
from client.process import Command
from client.stack import Options, Service, Stack
from store import database
from store.settings import Settings
from tests.e2e.platform import eventually, processes_of

DISK_MIB = 256
MOST_ATTEMPTS = 50  # at the default of 3 a run that is struck three times between two checkpoints fails, as it should


class LabStack(Stack):
    """Workers pass the points at which they may be struck; their training processes do, or are stand-ins."""

    trainer = "benchmarks.chaos.points"
    machines: Sequence[Machine] = ()  # one for each worker, where they aren't on this one

    def add_worker(self) -> None:
        """One more."""
        number = 1 + sum(service.name.startswith("worker") for service in self.services)
        (api,) = (service for service in self.services if service.name == "api")
        service = Service(self._worker_command(api.command.env, number), lambda: True, 5.0)
        service.is_ready = self._registered(service)
        self._bring_up(service)

    def _worker_command(self, env: Mapping[str, str], number: int) -> Command:
        command = super()._worker_command(env, number)
        options = command.argv[command.argv.index("worker") + 1 :]
        argv = [sys.executable, "-m", "benchmarks.chaos.points", "worker", self.trainer, *options]
        if self.machines:
            machine = self.machines[number - 1]
            argv, env = machine.inside(argv), {**command.env, "LASER_HOME": str(machine.home)}
            return dataclasses.replace(command, argv=argv, env=env)
        return dataclasses.replace(command, argv=argv)


class Lab:
    """Use as ``with Lab(...) as lab``; call ``tend`` a few times a second, from the main thread."""

    def __init__(
        self, workers: int = 4, db: str = "sqlite", stands_in: bool = False, apart: bool = False, **settings: Any
    ) -> None:
        """``settings`` by their names in store.settings; the times are the product's own where left out. ``stands_in``: what
        trains is a stand-in. ``apart``: each worker is on a machine of its own, with a network between it and the rest."""
        self.folder = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
        self.home = self.folder / "lab"
        self.points = self.home / "chaos"
        self.points.mkdir(parents=True)
        self.ballast = self.home / "artifacts" / "ballast"
        self.workers, self.db, self.stands_in, self.apart = workers, db, stands_in, apart
        self.settings_given = {"max_attempts": MOST_ATTEMPTS, "min_free_mib": 1, **settings}
        self.machines: Sequence[Machine] = ()
        self.away_until_undone = 0  # outages of the database at the moment
        self._undo: list[tuple[float, Callable[[], None]]] = []

    def __enter__(self) -> Lab:
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self.has_small_disk = self._mount()
            stack.callback(self._unmount)
            address = ""
            if self.apart:
                between = stack.enter_context(network(self.workers, self.home))
                self.machines, address = between.machines, between.address
                self.settings_given["broker_url"] = stack.enter_context(broker(address, self.folder))
            self.database: Database = Postgres(address) if self.db == "postgres" else SQLite(self.home)
            stack.callback(self.database.close)
            stack.enter_context(_environment(self.home, self.database.url, self.settings_given))
            self.settings = Settings()
            self.stack = LabStack(Home(self.home), Options(_free_port(), self.workers, 1, 5.0), self._say)
            self.stack.machines = self.machines
            if self.stands_in:
                self.stack.trainer = "benchmarks.chaos.standin"
            stack.callback(_restore, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
            stack.callback(self.stop_services)
            self.stack.start()
            self.engine: sa.Engine = database.connect(self.database.url)
            stack.callback(self.engine.dispose)
            self.client = Client(self.stack.url, Home(self.home).token, timeout_s=15)
            stack.callback(self.client.close)
            self._leave = stack.pop_all()
        return self

    def __exit__(self, *_: Any) -> None:
        self.undo_all()
        self._leave.close()

    # --- time passes

    def tend(self) -> None:
        """Services that ended start again; faults whose time is over are undone."""
        self.stack.tend()
        for due, undo in list(self._undo):
            if time.monotonic() >= due:
                self._undo.remove((due, undo))
                undo()

    def later(self, seconds: float, undo: Callable[[], None]) -> None:
        self._undo.append((time.monotonic() + seconds, undo))

    def undo_all(self) -> None:
        while self._undo:
            self._undo.pop()[1]()

    # --- what there is

    def service(self, name: str) -> Service | None:
        """The service of that name, while it runs."""
        for service in self.stack.services:
            if service.name == name and service.process is not None and service.process.exit_code is None:
                return service
        return None

    def trainings(self) -> list[Training]:
        return trainings(self.home)

    def broker(self) -> redis.Redis:
        assert self.stack.sockets is not None
        return redis.Redis(unix_socket_path=str(self.stack.sockets / "valkey.sock"), socket_timeout=2)

    def submit(self, config: Mapping[str, Any], key: str) -> str | None:
        """The run's id; None where the API doesn't answer: send it again with the same key."""
        try:
            return str(self.client.submit(config, key)["id"])
        except Unreachable:
            return None
        except Refused as error:
            if error.status < 500:
                raise
            return None

    # --- what can be done to it

    def take_database_away(self, how: str, seconds: float) -> None:
        undo = self.database.take_away(how)
        self.away_until_undone += 1

        def give_back() -> None:
            undo()
            self.away_until_undone -= 1

        self.later(seconds, give_back)

    def fill_disk(self, seconds: float) -> None:
        """Not a byte is left for checkpoints."""
        with contextlib.suppress(OSError), self.ballast.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        self.later(seconds, lambda: self.ballast.unlink(missing_ok=True))

    # --- starting and stopping

    def stop_services(self) -> None:
        """All but the database, which can be looked at from now on without anybody changing it."""
        self.stack.stop()
        eventually("the end of every process", lambda: not self._processes(), 30)

    def keep_logs(self, folder: Path) -> None:
        shutil.copytree(self.home / "logs", folder, dirs_exist_ok=True)

    def _mount(self) -> bool:
        """A small file system of its own for checkpoints; only root can have it."""
        artifacts = self.ballast.parent
        artifacts.mkdir(mode=0o700)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=700", "laser-chaos", artifacts]
        return os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0

    def _unmount(self) -> None:
        if self.has_small_disk:
            subprocess.run(["umount", "--lazy", self.ballast.parent], check=False)

    def _processes(self) -> list[int]:
        """All but those of the database, which inherit the lab's environment when they are started again."""
        return [pid for pid, command in processes_of(str(self.home)).items() if "postgres" not in command]

    def _say(self, text: str) -> None:
        with (self.home / "harness.log").open("a") as log:
            log.write(f"{time.time():.3f} {text}\n")


@contextlib.contextmanager
def _environment(home: Path, database_url: str, settings: Mapping[str, Any]) -> Iterator[None]:
    """LASER_* of this process and its children: the lab's and no others."""
    before = {name: value for name, value in os.environ.items() if name.startswith("LASER_")}
    for name in before:
        del os.environ[name]
    own = {"home": home, "database_url": database_url, **settings}
    os.environ.update({f"LASER_{name.upper()}": str(value) for name, value in own.items()})
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("LASER_")]:
            del os.environ[name]
        os.environ.update(before)


def _restore(*handlers: Any) -> None:
    for number, handler in zip((signal.SIGINT, signal.SIGTERM), handlers, strict=True):
        signal.signal(number, handler)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
