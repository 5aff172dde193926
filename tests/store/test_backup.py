"""A backup of either database makes the same one again, on either; a damaged or hostile one makes nothing."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
import zipfile

import pytest
import sqlalchemy as sa

from laser_core.config import parse_run
from store import access, backup, claims, database, runs, submit
from store.backup import BackupError
from store.errors import Superseded
from store.settings import Settings
from store.states import State
from store.tables import metadata
from tests.store.filling import contents, fill


@pytest.fixture
def filled(engine, settings):
    """A database with rows in every table, a gap in the numbers of its runs, and the files of two runs."""
    access.ensure_local_user(engine)
    made = [
        submit.create_run(engine, parse_run({"kind": "train", "seed": seed}), access.LOCAL_USER)[0] for seed in (1, 2)
    ]
    for run in made:
        runs.request_cancel(engine, run.id)
        runs.delete_run(engine, run.id)
    with database.write(engine) as connection:
        connection.execute(sa.delete(metadata.tables["audit"]))
        fill(connection)
    for name in ("artifacts/r_1/checkpoints/step-1/model.safetensors", "datasets/d_1.csv", "spool/r_1"):
        (settings.home / name).parent.mkdir(parents=True, exist_ok=True)
        (settings.home / name).write_bytes(name.encode() * 1000)
    return engine


@pytest.fixture
def elsewhere(tmp_path):
    """Settings of another home, still empty."""
    return Settings(home=tmp_path / "elsewhere")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def other(request, elsewhere):
    """An engine on another, empty database."""
    if request.param == "sqlite":
        engine = database.connect(elsewhere.database_url)
        yield engine
        engine.dispose()
        return
    server = request.getfixturevalue("postgres_url")
    with _alone(server) as connection:
        connection.exec_driver_sql("DROP DATABASE IF EXISTS restored WITH (FORCE)")
        connection.exec_driver_sql("CREATE DATABASE restored")
    engine = database.connect(sa.make_url(server).set(database="restored").render_as_string(hide_password=False))
    yield engine
    engine.dispose()
    with _alone(server) as connection:
        connection.exec_driver_sql("DROP DATABASE restored WITH (FORCE)")


def _alone(server):
    return sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool).connect()


def test_what_was_there_is_there_again(filled, settings, other, elsewhere, tmp_path):
    file = tmp_path / "backup.zip"
    made = backup.make(filled, settings, file, with_files=True)
    assert file.stat().st_mode & 0o777 == 0o600
    assert backup.restore(other, elsewhere, file) == made
    with database.read(filled) as before, database.read(other) as after:
        was, now = contents(before), contents(after)
    for run in was["runs"]:
        run["epoch"] += backup.FENCE
    assert repr(now) == repr(was)
    names = ("artifacts/r_1/checkpoints/step-1/model.safetensors", "datasets/d_1.csv")
    assert [(elsewhere.home / name).read_bytes() == (settings.home / name).read_bytes() for name in names] == [True] * 2
    assert not (elsewhere.home / "spool").exists()
    assert made.summary()["files"] == 2
    assert made.summary()["rows"] >= 2 * len(metadata.tables)
    numbers = [submit.create_run(e, parse_run({"kind": "train"}), "id 1")[0].number for e in (filled, other)]
    assert numbers[0] == numbers[1] > 2, "numbers of deleted runs don't come back"


def test_a_worker_that_outlived_its_database_is_fenced(engine, settings, submit, other, elsewhere, tmp_path):
    first, second, ended = (submit(seed=seed).id for seed in range(3))
    take = functools.partial(claims.claim_run, engine, "survivor", 60, settings=settings)
    assert take().run_id == first
    runs.request_cancel(engine, ended)
    backup.make(engine, settings, tmp_path / "b.zip")
    assert take().run_id == second  # which the backup knows as waiting
    backup.restore(other, elsewhere, tmp_path / "b.zip")
    waiting = runs.get_run(other, first)
    assert (waiting.state, waiting.reason) == (State.queued, "its database was restored from a backup")
    assert runs.get_run(other, ended).state == State.cancelled
    for _ in range(2):  # while nobody has them, and once another worker has
        for run in (first, second):
            with pytest.raises(Superseded):
                claims.heartbeat(other, run, 1, 60)
        for _ in range(2):
            claims.claim_run(other, "new", 60, settings=elsewhere)
    assert [runs.get_run(other, run).attempt for run in (first, second)] == [backup.FENCE + 2, backup.FENCE + 1]


def test_a_backup_of_an_older_schema_comes_to_the_newest(engine, settings, other, elsewhere, tmp_path):
    with database.write(engine) as connection:
        metadata.drop_all(connection)
        connection.exec_driver_sql("DROP TABLE alembic_version")
    database.migrate(engine, "0001")
    with database.write(engine) as connection:
        fill(connection)
    backup.make(engine, settings, tmp_path / "old.zip")
    assert backup.restore(other, elsewhere, tmp_path / "old.zip").revision == "0001"
    assert database.version(other) == database.head()
    assert runs.get_run(other, "id 1").config == {"kind": "train"}


def test_writers_go_on_meanwhile_and_rows_are_of_one_moment(filled, settings, tmp_path, monkeypatch):
    write_table, seen = backup._write_table, []

    def write_and_change(archive, connection, table):
        member = write_table(archive, connection, table)
        with database.write(filled) as writer:
            writer.execute(sa.update(metadata.tables["runs"]).values(name=f"changed after {table.name}"))
        seen.append(table.name)
        return member

    monkeypatch.setattr(backup, "_write_table", write_and_change)
    backup.make(filled, settings, tmp_path / "b.zip")
    assert seen.index("runs") > 0
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        assert b"changed after" not in archive.read("tables/runs.jsonl")


def test_nothing_is_overwritten(filled, settings, elsewhere, tmp_path):
    file = tmp_path / "b.zip"
    backup.make(filled, settings, file, with_files=True)
    with pytest.raises(BackupError, match="exists already"):
        backup.make(filled, settings, file)
    with pytest.raises(BackupError, match="the database isn't empty"):
        backup.restore(filled, elsewhere, file)
    empty = database.connect(elsewhere.database_url)
    with pytest.raises(BackupError, match=r"artifacts.* exists already"):
        backup.restore(empty, settings, file)
    assert database.version(empty) is None
    empty.dispose()


@pytest.fixture
def empty(elsewhere):
    engine = database.connect(elsewhere.database_url)
    yield engine
    assert database.version(engine) is None, "a bad backup left something"
    assert [path.name for path in elsewhere.home.rglob("*") if not path.name.startswith("laser.db")] == []
    engine.dispose()


def rewritten(file, change):
    """The backup with ``change(members)`` made to its members {name: bytes}."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def manifest_with(members, **changes):
    members["manifest.json"] = json.dumps(json.loads(members["manifest.json"]) | changes).encode()


def _claim(members, name, content=b"evil"):
    """Adds a file that the manifest vouches for."""
    raw = json.loads(members["manifest.json"])
    digest = backup.hashlib.sha256(content).hexdigest()
    raw["members"][name] = {"sha256": digest, "bytes": len(content), "columns": [], "rows": 0}
    members["manifest.json"], members[name] = json.dumps(raw).encode(), content


HARM = {
    "another checksum": lambda m: m.update({"tables/users.jsonl": b"[]\n"}),
    "aren't those of its manifest": lambda m: m.pop("tables/users.jsonl"),
    "has no manifest": lambda m: m.pop("manifest.json"),
    "manifest that can be read": lambda m: m.update({"manifest.json": b"{"}),
    "or a newer one": lambda m: manifest_with(m, revision="9999"),
    "format 7": lambda m: manifest_with(m, format=7),
    "doesn't belong in a home: 'files/../laser.db'": lambda m: _claim(m, "files/../laser.db"),
    "doesn't belong in a home: 'files/artifacts/../../x'": lambda m: _claim(m, "files/artifacts/../../x"),
    "doesn't belong in a home: '/etc/x'": lambda m: _claim(m, "/etc/x"),
    "doesn't belong in a home: 'files/token'": lambda m: _claim(m, "files/token"),
}


@pytest.mark.parametrize("why", HARM)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_damaged_or_hostile_backup_changes_nothing(filled, settings, empty, elsewhere, tmp_path, why):
    backup.make(filled, settings, tmp_path / "b.zip")
    rewritten(tmp_path / "b.zip", HARM[why])
    with pytest.raises(BackupError, match=backup_words(why)):
        backup.restore(empty, elsewhere, tmp_path / "b.zip")


def backup_words(text):
    return text.replace("(", r"\(").replace("..", r"\.\.")


def test_no_zip_at_all(empty, elsewhere, tmp_path):
    (tmp_path / "b.zip").write_text("hello")
    with pytest.raises(BackupError, match="is no backup"):
        backup.restore(empty, elsewhere, tmp_path / "b.zip")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_failed_backup_leaves_no_file(filled, settings, tmp_path):
    shutil.rmtree(settings.home / "artifacts")
    with pytest.raises(FileNotFoundError):
        backup.make(filled, settings, tmp_path / "nowhere" / "b.zip")
    unreadable = sa.create_engine("sqlite://")
    with pytest.raises(BackupError, match="nothing to back up"):
        backup.make(unreadable, settings, tmp_path / "b.zip")
    assert not list(tmp_path.glob("b.zip*"))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_as_a_program(filled, settings, tmp_path):
    def backed(what, home, file):
        command = [sys.executable, "-m", "store.backup", what, str(file), *(["--files"] if what == "make" else [])]
        own = {"PATH": "/usr/bin", "LASER_HOME": str(home)}
        return subprocess.run(command, env=own, capture_output=True, text=True)

    made = backed("make", settings.home, tmp_path / "b.zip")
    assert json.loads(made.stdout)["schema"] == database.head()
    assert json.loads(backed("restore", tmp_path / "new", tmp_path / "b.zip").stdout)["files"] == 2
    again = backed("restore", tmp_path / "new", tmp_path / "b.zip")
    assert again.returncode == 1
    assert "isn't empty" in again.stderr
