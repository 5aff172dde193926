"""The local stack: broker, API and workers as child processes, started in order, kept alive, stopped in order."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from client.broker import answers_ping, broker_url, remove_runtime_dir, runtime_dir, valkey_command
from client.errors import Refused, StackError, Unreachable
from client.home import Home, InUse, Running
from client.http import Client
from client.ports import HOST, holder, is_free
from client.process import Command, Process, signals_held

READY_S = 120.0  # two cores under a load of 8 took 15 s
STABLE_S = 60.0  # a child that ran so long starts again without delay
BACKOFF_S = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
WORKER_STOP_S = 65.0  # the worker itself stops within 60: it saves checkpoints and gives its runs back to the queue
STOP_S = 5.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """``workers`` may be 0 (they run elsewhere); ``slots`` are the runs that one of them trains at once, 0 chooses."""

    port: int
    workers: int = 1
    slots: int = 0
    worker_stop_s: float = WORKER_STOP_S

    @property
    def slots_per_worker(self) -> int:
        """One per GPU; without a GPU up to four, so that two cores train two runs at full speed each."""
        if self.slots:
            return self.slots
        gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
        return max(1, (gpus or min(4, _cores())) // max(1, self.workers))

    @property
    def threads_per_run(self) -> int:
        """The cores, shared evenly."""
        return max(1, _cores() // max(1, self.workers * self.slots_per_worker))


@dataclass
class Service:
    """A child that is kept running."""

    command: Command
    is_ready: Callable[[], bool]
    stop_s: float = STOP_S
    process: Process | None = None
    restarts: int = 0
    due_s: float | None = None  # when to start it again

    @property
    def name(self) -> str:
        return self.command.name

    def start(self) -> None:
        with signals_held():
            self.process = Process(self.command)
        self.due_s = None

    def tend(self, say: Say) -> None:
        """Starts it again, later each time, once it has ended."""
        now = time.monotonic()
        if self.due_s is not None:
            if now >= self.due_s:
                self.start()
            return
        if self.process is None or (code := self.process.exit_code) is None:
            return
        self.process.kill()  # what is left of its group
        self.restarts = 0 if now - self.process.started_s > STABLE_S else self.restarts + 1
        delay_s = BACKOFF_S[min(self.restarts, len(BACKOFF_S) - 1)]
        when = f"in {delay_s:g} s" if delay_s else "now"
        say(f"{self.name:<8} ended ({_ending(code)}); starting it again {when}. Its log: {self.command.log}")
        self.due_s = now + delay_s


@dataclass
class Stack:
    """Use as ``with running_stack(...)``."""

    home: Home
    options: Options
    say: Say
    services: list[Service] = field(default_factory=list)
    started_at: float = field(default_factory=time.time)
    sockets: Path | None = None
    leaving: int = 0  # the signal that asked to stop

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.options.port}"

    def start(self) -> None:
        """Starts every part once the one before is ready. Raises StackError with the end of the log of one that fails."""
        env = {
            **os.environ,
            "LASER_HOME": str(self.home.path),
            "LASER_HOST": HOST,
            "LASER_PORT": str(self.options.port),
        }
        env["PYTHONUNBUFFERED"] = "1"
        if not env.get("LASER_BROKER_URL"):
            self.sockets = runtime_dir(self.home.path)
            socket_path = self.sockets / "valkey.sock"
            env["LASER_BROKER_URL"] = broker_url(socket_path)
            command = valkey_command(self.home.path, socket_path, self.home.logs / "broker.log")
            self._bring_up(Service(command, lambda: answers_ping(socket_path)))
        self._bring_up(Service(self._api_command(env), self._api_answers))
        for number in range(1, self.options.workers + 1):
            service = Service(self._worker_command(env, number), lambda: True, self.options.worker_stop_s)
            service.is_ready = self._registered(service)
            self._bring_up(service)

    def tend(self) -> None:
        """Restarts what ended. Call it a few times a second, from the main thread."""
        if self.leaving:
            self.leave(self.leaving)
        for service in self.services:
            service.tend(self.say)

    def leave(self, signum: int, _: FrameType | None = None) -> None:
        """Handles a signal that asks to stop. ``tend`` raises again, as Python loses exceptions raised in a destructor."""
        self.leaving = signum
        raise KeyboardInterrupt if signum == signal.SIGINT else SystemExit(128 + signum)

    def stop(self) -> None:
        """Workers first, then the API, then the broker; another Ctrl-C or SIGTERM meanwhile stops all at once."""
        hurry: list[int] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda signum, _: hurry.append(signum))
        if self.services:
            self.say("Stopping; runs in training save a checkpoint and go on at the next start (Ctrl-C again: at once)")
        for service in reversed(self.services):  # no worker waits for another
            if service.process and service.name.startswith("worker"):
                service.process.terminate()
        for service in reversed(self.services):
            if service.process is None:
                continue
            service.process.terminate()
            service.process.wait(service.stop_s, lambda: bool(hurry))
            service.process.kill()
            service.process = None
        if self.sockets:
            remove_runtime_dir(self.sockets)
        self.say("Stopped")

    def _bring_up(self, service: Service) -> None:
        self.services.append(service)
        began = time.monotonic()
        service.start()
        while not service.is_ready():
            assert service.process is not None
            code = service.process.exit_code
            if code is not None or time.monotonic() - began > READY_S:
                what = f"ended ({_ending(code)})" if code is not None else f"was not ready after {READY_S:g} s"
                tail = service.process.log_tail()
                raise StackError(f"{service.name} {what} while starting. The end of {service.command.log}:\n{tail}")
            time.sleep(0.05)
        self.say(f"{service.name:<8} ready in {time.monotonic() - began:.1f} s")

    def _api_command(self, env: Mapping[str, str]) -> Command:
        return Command("api", [sys.executable, "-m", "api"], env, self.home.logs / "api.log")

    def _worker_command(self, env: Mapping[str, str], number: int) -> Command:
        name = "worker" if self.options.workers == 1 else f"worker{number}"
        slots = str(self.options.slots_per_worker)
        argv = [sys.executable, "-m", "celery", "-A", "worker.app", "worker", "--loglevel", "INFO"]
        argv += ["--without-mingle", "--without-gossip", "--without-heartbeat"]  # the database knows who lives
        argv += ["--hostname", f"{name}@%h"]
        threads = {"LASER_SLOTS": slots, "OMP_NUM_THREADS": str(self.options.threads_per_run)}
        return Command(name, argv, {**env, **threads}, self.home.logs / f"{name}.log")

    def _api_answers(self) -> bool:
        with Client(self.url, self.home.token) as client:
            return client.is_up()

    def _registered(self, service: Service) -> Callable[[], bool]:
        def is_ready() -> bool:
            assert service.process is not None
            try:
                with Client(self.url, self.home.token) as client:
                    workers = client.workers()
            except (Unreachable, Refused):
                return False
            return any(w["pid"] == service.process.pid and w["started_at"] >= self.started_at for w in workers)

        return is_ready


@contextmanager
def running_stack(home: Home, options: Options, say: Say) -> Iterator[Stack]:
    """A stack that answers; stopped in order when the block is left, be it by Ctrl-C, SIGTERM or SIGHUP.

    Raises StackError when the port is taken or a part doesn't start, InUse when another stack works on this home.
    """
    with home.taken() as taken:
        if not is_free(options.port):
            raise StackError(
                f"Port {options.port} is taken by {holder(options.port)}. "
                f"Choose another one: laser up --port {options.port + 1}"
            )
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        stack = Stack(home, options, say)
        try:
            for number in before:
                if number != signal.SIGHUP or before[number] is not signal.SIG_IGN:  # nohup
                    signal.signal(number, stack.leave)
            stack.start()
            taken.announce(stack.url)
            yield stack
        finally:
            stack.stop()
            for number, handler in before.items():
                signal.signal(number, handler)


def running_here(home: Home) -> Running | None:
    """The stack on this home, once it answers; None when there is none or it doesn't come up."""
    deadline = time.monotonic() + READY_S
    while (running := home.running()) is not None:
        if running.url:
            with Client(running.url, home.token) as client:
                if client.is_up():
                    return running
        if time.monotonic() > deadline:
            return None
        time.sleep(0.1)
    return None


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"by {signal.Signals(-code).name}"
    return f"exit code {code}"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


__all__ = ["InUse", "Options", "Stack", "running_here", "running_stack"]
