"""What `python -m store.doctor` finds on real databases and disks, well and ill."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import time

import pytest

from store import database, doctor, users, workers
from store.doctor import examine
from store.settings import Settings


@pytest.fixture
def settings(tmp_path, monkeypatch):
    web = tmp_path / "web"
    web.mkdir()
    (web / "index.html").write_text("page")
    return Settings(home=tmp_path / "home", web_dir=web)


@pytest.fixture
def look(engine, database_url, settings):
    """``look(host="::")``: findings by name, of the settings changed so."""
    settings.home.mkdir(mode=0o700, exist_ok=True)
    settings.home.chmod(0o700)

    def look(**changes):
        changed = settings.model_copy(update={"database_url": database_url, **changes})
        return {finding.name: finding for finding in examine(changed)}

    return look


def test_nothing_is_wrong_with_a_healthy_installation(look, engine, settings):
    settings.token_file.write_text("secret")
    settings.token_file.chmod(0o600)
    version = importlib.metadata.version("laser-lab")
    workers.register(engine, "w1", "here", 7, 2, "cpu", version)
    found = look()
    tests_own = {"durability"} if engine.dialect.name == "postgresql" else set()  # its fsync is off
    assert {f.name for f in found.values() if f.status == "failed"} == set()
    assert {f.name for f in found.values() if f.advice and not f.name.startswith("disk")} == tests_own
    assert found["workers"].found == "1 alive, 2 slots: w1"
    assert ("SQLite" if engine.dialect.name == "sqlite" else "PostgreSQL") in found["database"].found


def test_who_may_read_the_home_and_the_token(look, settings):
    settings.home.chmod(0o755)
    settings.token_file.write_text("secret")
    settings.token_file.chmod(0o644)
    found = look()
    assert found["home"].advice == f"chmod 700 {settings.home}"
    assert found["token"].advice == f"chmod 600 {settings.token_file}"
    assert found["token"].status == "failed"
    assert "secret" not in str(found)


def test_room_on_the_disk(look):
    assert look(min_free_mib=2**40)["disk for artifacts"].status == "failed"


def test_a_schema_of_another_time(look, engine):
    def called(revision):
        with database.write(engine) as connection:
            connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")
        return look()["schema"]

    assert "laser backup" in called("0001").advice
    assert "install the laser-lab that made it" in called("9999").advice


def test_clocks_that_differ(look, monkeypatch):
    before = time.time
    monkeypatch.setattr(doctor.time, "time", lambda: before() + 100)
    finding = look()["clock"]
    assert finding.status == "failed"
    assert -101 < float(finding.found.split()[4]) < -99


def test_workers_of_other_versions_or_none(look, engine):
    assert look()["workers"].status == "warning"
    workers.register(engine, "w1", "there", 7, 1, "cpu", "0.0.1", now=time.time() + 60)
    found = look()
    assert found["worker version"].found.startswith("w1 runs 0.0.1")
    assert "clock of there" in found["worker clock"].advice


def test_addresses_beyond_loopback(look, engine):
    assert look(host="0.0.0.0")["address"].advice == "python -m store.admin NAME makes the first admin"
    users.add(engine, "ann", "admin")
    assert "LASER_ALLOWED_HOSTS" in look(host="0.0.0.0")["address"].advice
    assert look(host="0.0.0.0", allowed_hosts="lab.example")["address"].status == "ok"


def test_the_broker(look, broker_url):
    assert look(broker_url=broker_url)["broker"].status == "ok"
    gone = look(broker_url="redis://user:hidden@127.0.0.1:1/0")["broker"]
    assert (gone.status, gone.found) == ("failed", "unreachable: OperationalError")
    assert "hidden" not in str(gone)


@pytest.mark.parametrize("url", ["postgresql://laser:hidden@127.0.0.1:1/x", "mysql://x/y"])
def test_a_database_that_doesnt_answer(settings, url):
    (finding,) = [f for f in examine(settings.model_copy(update={"database_url": url})) if f.name == "database"]
    assert finding.status == "failed"
    assert "hidden" not in str(finding)


def test_looking_makes_nothing(settings):
    names = {finding.name: finding.status for finding in examine(settings)}
    assert names["database"] == names["home"] == "warning"
    assert not settings.home.exists()


def test_settings_that_cant_be_read_are_named(tmp_path):
    own = {"PATH": "/usr/bin", "LASER_HOME": str(tmp_path), "LASER_SLOTS": "many"}
    done = subprocess.run([sys.executable, "-m", "store.doctor"], env=own, capture_output=True, text=True, check=True)
    (finding,) = json.loads(done.stdout)
    assert (finding["name"], finding["status"]) == ("LASER_SLOTS", "failed")
