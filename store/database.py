"""Connecting, transactions and migrations: ``connect``, ``read``, ``write``, ``migrate``."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from store import dialect
from store.errors import Outdated

ROWS_AT_ONCE = 200
MIGRATIONS = Path(__file__).parent / "migrations"
# A cable that is pulled tells neither end. Without these a client would wait for a quarter of an hour, and a server would keep
# the locks of a transaction whose client is gone for two hours, so that nobody could take its run. Nor does a stopped process
# let go of its locks: the server ends what is in the middle of a transaction and says nothing. A URL may say otherwise.
SILENT_MS = 10_000
CUT_OFF = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "options": "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3 -c tcp_user_timeout=10000 "
    f"-c idle_in_transaction_session_timeout={SILENT_MS}",
}


def connect(url: str) -> sa.Engine:
    """An engine for ``sqlite:///…`` or ``postgresql://…``; a SQLite file's folder is made if missing.

    Raises ValueError for another kind of database, or a SQLite file on a network file system.
    """
    parsed = sa.make_url(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return dialect.sqlite_engine(parsed)
    if backend == "postgresql":
        driven = parsed.set(drivername="postgresql+psycopg", query={**CUT_OFF, **parsed.query})
        return sa.create_engine(driven, pool_size=10, max_overflow=20, pool_pre_ping=True)
    raise ValueError(f"LASER_DATABASE_URL: expected sqlite:/// or postgresql://, got {backend}://")


@contextlib.contextmanager
def read(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that only reads: on SQLite one snapshot, without the write lock."""
    with engine.connect() as connection, connection.begin():
        yield connection


@contextlib.contextmanager
def write(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that writes. On SQLite it takes the write lock at once and in turn with this process's other threads:
    polling for the file lock instead starves some of them."""
    lock: threading.Lock | None = engine.get_execution_options().get("write_lock")
    with (
        lock or contextlib.nullcontext(),
        engine.connect().execution_options(writes=True) as connection,
        connection.begin(),
    ):
        yield connection


@contextlib.contextmanager
def snapshot(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that sees the database as it is at its first query, however long it reads; rows come as they are read."""
    is_server = engine.dialect.name == "postgresql"
    level = {"isolation_level": "REPEATABLE READ"} if is_server else {}
    with engine.connect().execution_options(**level) as connection, connection.begin():
        if is_server:
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        yield connection.execution_options(yield_per=ROWS_AT_ONCE)


def migrate(engine: sa.Engine, revision: str | None = None) -> None:
    """Brings the schema to ``revision``, the newest by default; safe when several processes start at once.

    Raises RuntimeError when the database is of a newer version than that: there is no way back.
    """
    wanted, current = revision or head(), version(engine)
    if current == wanted:
        return
    if current is not None and current not in revisions(wanted):
        raise RuntimeError(
            f"the database has schema {current}, newer than {wanted}, which is wanted: use the laser-lab that made it, "
            "or restore a backup of before its upgrade (`laser restore`)"
        )
    with write(engine) as connection:
        dialect.lock_schema(connection)
        upgrade(connection, wanted)


def upgrade(connection: sa.Connection, revision: str) -> None:
    """``migrate`` in a transaction of the caller's, who knows that ``revision`` isn't older than the database."""
    config = _alembic()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def revisions(last: str | None = None) -> list[str]:
    """Every schema revision, from the first to ``last``, by default the newest. Raises LookupError for an unknown one."""
    try:
        walked = list(ScriptDirectory.from_config(_alembic()).iterate_revisions(last or "head", "base"))
    except CommandError as error:
        raise LookupError(f"no schema {last!r}") from error
    return [revision.revision for revision in reversed(walked)]


@functools.cache
def head() -> str:
    """Schema revision that this code needs."""
    return str(ScriptDirectory.from_config(_alembic()).get_current_head())


def version(engine: sa.Engine) -> str | None:
    """Schema revision of the database; None when it is empty."""
    with read(engine) as connection:
        return version_seen(connection)


def version_seen(connection: sa.Connection) -> str | None:
    """``version`` in a transaction of the caller's."""
    found: Any = MigrationContext.configure(connection).get_current_revision()
    return None if found is None else str(found)


def require_head(engine: sa.Engine) -> None:
    """Raises Outdated unless the database has the schema that this code needs."""
    with read(engine) as connection:
        require_head_here(connection)


def require_head_here(connection: sa.Connection) -> None:
    """``require_head`` in a transaction of the caller's."""
    if (found := version_seen(connection)) != head():
        raise Outdated(
            f"the database has schema {found}, this worker needs {head()}: run the same laser-lab everywhere"
        )


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
