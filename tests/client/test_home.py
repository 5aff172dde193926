"""One home, one stack."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from client.home import DEFAULT_URL, Home, InUse

HOLDER = """
import sys
from client.home import Home
with Home.from_environment().taken() as taken:
    taken.announce("http://127.0.0.1:1")
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_home_is_taken_once_and_free_again_when_its_holder_is_killed(home_path: Path) -> None:
    home = Home(home_path)
    assert home.running() is None
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        running = home.running()
        assert running is not None
        assert (running.pid, running.url) == (holder.pid, "http://127.0.0.1:1")
        assert home.url() == "http://127.0.0.1:1"
        with pytest.raises(InUse, match=f"already running on .*process {holder.pid}"), home.taken():
            pass
        holder.kill()
    assert home.running() is None
    assert home.url() == DEFAULT_URL
    with home.taken():
        assert home.running() is not None
        assert home.path.stat().st_mode & 0o777 == 0o700
    assert home.running() is None


def test_the_address_and_the_token_come_from_the_environment_first(
    home_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home.from_environment()
    assert home.path == home_path
    assert home.token == ""
    home_path.mkdir()
    (home_path / "token").write_text("secret\n")
    assert home.token == home.token_for(DEFAULT_URL) == "secret"
    assert home.token_for("https://elsewhere") == ""
    monkeypatch.setenv("LASER_URL", "http://elsewhere:1")
    assert home.url() == "http://elsewhere:1"
    monkeypatch.setenv("LASER_TOKEN", "other")
    assert home.token_for("https://elsewhere") == "other"
    monkeypatch.delenv("LASER_HOME")
    assert Home.from_environment().path == Path(os.path.expanduser("~/.laser"))
