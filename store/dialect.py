"""The SQL that SQLite and PostgreSQL don't share."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles

BUSY_TIMEOUT_MS = 30_000
LEAST_SQLITE = (3, 45, 0)  # binary JSON
SAFE_SQLITE = (3, 51, 3)  # before, several connections that write and checkpoint at once can corrupt a WAL
SCHEMA_LOCK, CLAIM_LOCK = 0x1A5E12AB, 0x1A5E12AC  # any numbers, the same in every process
NETWORK_FILE_SYSTEMS = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "ceph",
    "glusterfs",
    "fuse.sshfs",
    "lustre",
}


def insert(connection: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that knows ``on_conflict_do_nothing`` and ``on_conflict_do_update`` (written alike in both)."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def lock_schema(connection: sa.Connection) -> None:
    """Keeps other migrations out until the transaction ends. SQLite's write lock does so already."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(SCHEMA_LOCK)))


def lock_claims(connection: sa.Connection) -> None:
    """Lets claims in one at a time until the transaction ends. SQLite's write lock does so already."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(CLAIM_LOCK)))


class pack_json(sa.sql.functions.GenericFunction[Any]):
    """JSON text as it is kept in a column of PackedJson."""

    inherit_cache = True


class unpack_json(pack_json):
    """And back."""

    inherit_cache = True


@compiles(pack_json)
def _as_it_is(element: pack_json, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


@compiles(pack_json, "sqlite")
def _pack_sqlite(element: pack_json, compiler: Any, **options: Any) -> str:
    return f"{'json' if isinstance(element, unpack_json) else 'jsonb'}({compiler.process(element.clauses, **options)})"


class json_text(sa.sql.functions.GenericFunction[Any]):
    """``json_text(column, ("store", "kind"))``: the string there in a column of JSON as text, true and false as words, else
    NULL. The path's parts must be plain names."""

    type: sa.types.TypeEngine[Any] = sa.String()
    inherit_cache = True

    def __init__(self, column: sa.ColumnElement[Any], path: tuple[str, ...]) -> None:
        super().__init__(
            column, sa.literal_column(f"'$.{'.'.join(path)}'"), sa.literal_column(f"'{{{','.join(path)}}}'")
        )


class json_number(json_text):
    """The number there, else NULL."""

    type = sa.Double()
    inherit_cache = True


@compiles(json_text, "sqlite")
def _json_text_sqlite(element: json_text, compiler: Any, **options: Any) -> str:
    column, path, _ = (compiler.process(clause, **options) for clause in element.clauses)
    kind, value = f"json_type({column}, {path})", f"json_extract({column}, {path})"
    return f"CASE {kind} WHEN 'text' THEN {value} WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' END"


@compiles(json_number, "sqlite")
def _json_number_sqlite(element: json_number, compiler: Any, **options: Any) -> str:
    column, path, _ = (compiler.process(clause, **options) for clause in element.clauses)
    return f"CASE WHEN json_type({column}, {path}) IN ('integer', 'real') THEN json_extract({column}, {path}) END"


@compiles(json_text, "postgresql")
def _json_text_postgresql(element: json_text, compiler: Any, **options: Any) -> str:
    column, _, path = (compiler.process(clause, **options) for clause in element.clauses)
    kind = f"jsonb_typeof({column}::jsonb #> {path})"
    return f"CASE WHEN {kind} IN ('string', 'boolean') THEN {column}::jsonb #>> {path} END"


@compiles(json_number, "postgresql")
def _json_number_postgresql(element: json_number, compiler: Any, **options: Any) -> str:
    column, _, path = (compiler.process(clause, **options) for clause in element.clauses)
    return f"CASE WHEN jsonb_typeof({column}::jsonb #> {path}) = 'number' THEN ({column}::jsonb #>> {path})::float8 END"


def now(connection: sa.Connection) -> float:
    """The database's own clock, in seconds since 1970."""
    is_server = connection.dialect.name == "postgresql"
    clock = "extract(epoch FROM clock_timestamp())" if is_server else "(julianday('now') - 2440587.5) * 86400"
    return float(connection.exec_driver_sql(f"SELECT {clock}").scalar_one())


def server(connection: sa.Connection) -> str:
    """Such as "PostgreSQL 17.10"."""
    if connection.dialect.name == "postgresql":
        return f"PostgreSQL {connection.exec_driver_sql('SHOW server_version').scalar_one()}"
    return f"SQLite {connection.exec_driver_sql('SELECT sqlite_version()').scalar_one()}"


def durability_problems(connection: sa.Connection) -> list[tuple[str, str]]:
    """What can lose committed data: (what was found, what to do)."""
    if connection.dialect.name == "postgresql":
        names = ("fsync", "full_page_writes", "synchronous_commit")
        off = [name for name in names if connection.exec_driver_sql(f"SHOW {name}").scalar_one() == "off"]
        return [(f"{name} is off: a crash of the machine loses data", f"set {name} = on") for name in off]
    version = str(connection.exec_driver_sql("SELECT sqlite_version()").scalar_one())
    is_old = tuple(map(int, version.split("."))) < SAFE_SQLITE
    return [(f"SQLite {version} can corrupt its log", "pip install pysqlite3")] if is_old else []


def counters(connection: sa.Connection, tables: Iterable[sa.Table]) -> dict[str, int]:
    """The last number given out by each table that numbers its rows: it never comes back, even where the row is gone."""
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql("SELECT name, seq FROM sqlite_sequence")
        return {name: last for name, last in rows if not name.startswith("_alembic")}
    found = {}
    for table in tables:
        if (sequence := _sequence(connection, table.name)) is not None:
            query = f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}"
            found[table.name] = int(connection.exec_driver_sql(query).scalar_one())
    return found


def set_counters(connection: sa.Connection, last: Mapping[str, int]) -> None:
    """Numbers go on after ``last``, by table."""
    for name, number in last.items():
        if connection.dialect.name == "sqlite":
            connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = :n"), {"n": name})
            connection.execute(sa.text("INSERT INTO sqlite_sequence VALUES (:n, :last)"), {"n": name, "last": number})
        elif number:
            sequence = _sequence(connection, name)
            connection.execute(sa.select(sa.func.setval(sequence, number)))


def _sequence(connection: sa.Connection, table: str) -> str | None:
    (key,) = sa.inspect(connection).get_pk_constraint(table)["constrained_columns"][:1]
    return connection.execute(sa.select(sa.func.pg_get_serial_sequence(table, key))).scalar()


def sqlite_engine(url: sa.URL) -> sa.Engine:
    """SQLite in WAL with full durability.

    pysqlite3 brings SQLite 3.53: versions before 3.51.3 can corrupt a WAL when several connections write and checkpoint
    at once. Writers begin IMMEDIATE, as a transaction that starts by reading can't wait for the lock later.
    """
    if url.database and url.database != ":memory:":
        _prepare_folder(Path(url.database))
    module = _sqlite_module()
    if module.sqlite_version_info < LEAST_SQLITE:
        least = ".".join(map(str, LEAST_SQLITE))
        raise RuntimeError(
            f"expected SQLite {least} or later, got {module.sqlite_version}: use a newer Python, or PostgreSQL"
        )
    engine = sa.create_engine(
        url,
        module=module,
        pool_size=10,
        max_overflow=40,
        execution_options={"write_lock": threading.Lock()},
    )

    @sa.event.listens_for(engine, "connect")
    def _configure(dbapi_connection: Any, record: Any) -> None:
        dbapi_connection.isolation_level = None  # the driver must not begin transactions on its own
        for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            dbapi_connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _sqlite_module() -> Any:
    try:
        import pysqlite3.dbapi2 as module
    except ImportError:  # not Linux: the system's own
        import sqlite3 as module
    return module


def _prepare_folder(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    kind = _file_system(file.parent)
    if kind in NETWORK_FILE_SYSTEMS:
        raise ValueError(
            f"LASER_DATABASE_URL: {file} is on a network file system ({kind}), where SQLite can lose data; "
            "move LASER_HOME to a local disk or use PostgreSQL"
        )


def _file_system(folder: Path) -> str:
    """Type of the file system that holds ``folder``; empty where /proc doesn't tell."""
    try:
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return ""
    mounts = {fields[1]: fields[2] for fields in map(str.split, lines)}
    resolved = folder.resolve()
    return next((mounts[str(place)] for place in (resolved, *resolved.parents) if str(place) in mounts), "")
