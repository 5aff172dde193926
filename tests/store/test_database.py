"""Connecting, migrating and the reconciler's neighbours: workers."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from store import claims, database, dialect, workers
from store.errors import NotFound
from store.runs import get_run
from store.settings import Settings
from store.tables import metadata

T0 = 2e9


def test_migrations_make_the_tables_of_the_code(engine):
    with database.read(engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.migrate(engine)
    assert database.version(engine) == database.head()


def test_processes_that_start_at_once_migrate_once(engine, database_url):
    with database.write(engine) as connection:
        metadata.drop_all(connection)
        connection.exec_driver_sql("DROP TABLE alembic_version")
    code = "import sys; from store.database import connect, migrate; migrate(connect(sys.argv[1]))"
    racing = [subprocess.Popen([sys.executable, "-c", code, database_url]) for _ in range(2)]
    assert [process.wait(60) for process in racing] == [0, 0]
    with database.read(engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_newer_database_is_refused(engine):
    with database.write(engine) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(RuntimeError, match=r"newer than 0.*restore a backup"):
        database.migrate(engine)


def test_reading_doesnt_wait_for_a_writer(engine, submit):
    run = submit()
    with database.write(engine) as connection:
        connection.execute(sa.text("UPDATE runs SET name = 'changed'"))
        seen = []
        reader = threading.Thread(target=lambda: seen.append(get_run(engine, run.id).name))
        reader.start()
        reader.join(10)
        assert seen == [run.name]
    assert get_run(engine, run.id).name == "changed"


def test_sqlite_is_durable_and_strict(settings):
    engine = database.connect(settings.database_url)
    with engine.connect() as connection:
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {p}").scalar() for p in ("journal_mode", "synchronous", "foreign_keys")
        ]
    engine.dispose()
    assert pragmas == ["wal", 2, 1]
    assert tuple(map(int, engine.dialect.dbapi.sqlite_version.split("."))) >= (3, 51, 3)


@pytest.mark.parametrize("database_url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
def test_a_process_that_stops_in_a_transaction_keeps_its_locks_for_a_moment(
    engine, database_url, settings, submit, monkeypatch
):
    """Or nobody could take a run: neither its own nor, from the middle of a claim, any other."""
    run = submit()
    monkeypatch.setitem(
        database.CUT_OFF, "options", database.CUT_OFF["options"].replace(str(database.SILENT_MS), "500")
    )
    stopped = database.connect(database_url)
    with contextlib.suppress(sa.exc.SQLAlchemyError), database.write(stopped) as connection:
        dialect.lock_claims(connection)
        claim = claims.claim_run(engine, "another", 20, settings=settings)
        with pytest.raises(sa.exc.DBAPIError, match="idle-in-transaction"):
            connection.execute(sa.text("SELECT 1"))
    assert claim is not None
    assert claim.run_id == run.id
    with database.snapshot(stopped) as connection:  # reads for long, and holds nobody up
        setting = sa.select(sa.func.current_setting("idle_in_transaction_session_timeout"))
        assert connection.execute(setting).scalar() == "0"
    stopped.dispose()


def test_other_databases_are_refused():
    with pytest.raises(ValueError, match="LASER_DATABASE_URL: expected sqlite"):
        database.connect("mysql://x/y")


def test_settings_come_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("LASER_HOME", str(tmp_path))
    monkeypatch.setenv("LASER_PORT", "9000")
    monkeypatch.setenv("LASER_SLOTS", "")
    settings = Settings()
    assert (settings.port, settings.slots) == (9000, 1)
    assert settings.database_url == f"sqlite:///{tmp_path}/laser.db"
    assert settings.token_file == tmp_path / "token"
    monkeypatch.setenv("LASER_HOME", "~/x")
    assert Settings().home.is_absolute()


def test_workers_come_and_go(engine, start):
    workers.register(engine, "w1", "host", 7, 2, "cpu", "0.1.0", now=T0)
    workers.register(engine, "w2", "host", 8, 1, "cuda", "0.1.0", now=T0)
    workers.beat(engine, "w1", now=T0 + 50)
    run_id = start()
    one, two = workers.list_workers(engine, now=T0 + 60)
    assert (one.id, one.alive, one.runs) == ("w1", True, (run_id,))
    assert (two.id, two.alive, two.runs) == ("w2", False, ())
    workers.register(engine, "w1", "host", 9, 2, "cpu", "0.1.0", now=T0 + 8 * 86_400)
    assert [(worker.id, worker.pid) for worker in workers.list_workers(engine)] == [("w1", 9)]
    with pytest.raises(NotFound):
        workers.beat(engine, "w2")
