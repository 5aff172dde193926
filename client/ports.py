"""TCP ports on this machine: which are free, and who holds the others."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

HOST = "127.0.0.1"

_LISTEN = "0A"  # the kernel's code in /proc/net/tcp


def is_free(port: int) -> bool:
    """Whether a server could listen on it; 0 is always free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: old connections don't count
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port(preferred: int) -> int:
    """``preferred``, else the next free one within twenty, else any."""
    for port in range(preferred, min(preferred + 20, 65_536)):
        if is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def holder(port: int) -> str:
    """Who listens on ``port``, such as "process 1234 (python)"; "another program" where the system doesn't tell."""
    inodes = set(_listening_inodes(port))
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # not ours to look into, or gone meanwhile
            targets = (os.readlink(fd) for fd in (process / "fd").iterdir())
            if any(target == f"socket:[{inode}]" for target in targets for inode in inodes):
                return f"process {process.name} ({(process / 'comm').read_text().strip()})"
    return "another program"


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == _LISTEN and int(words[1].rpartition(":")[2], 16) == port:
                    yield words[9]
