"""`laser doctor` on this very installation."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client import doctor
from client.cli import main
from tests.client.conftest import Server

Look = Callable[[], tuple[object, dict[str, Any]]]


@pytest.fixture
def look(home_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Look:
    """``look()``: (exit code, findings by name) of `laser doctor --json`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("LASER_PORT", str(probe.getsockname()[1]))

    def look() -> tuple[object, dict[str, Any]]:
        with pytest.raises(SystemExit) as ended:
            main(["doctor", "--json"])
        answer = json.loads(capsys.readouterr().out)
        assert answer["ok"] is (ended.value.code == 0)
        return ended.value.code, {finding["name"]: finding for finding in answer["findings"]}

    return look


def test_a_fresh_machine_is_well_and_told_how_to_start(look: Look) -> None:
    code, found = look()
    assert code == 0, found
    assert found["service"]["advice"] == found["home"]["advice"].split("`")[1] == "laser up"
    assert {"python", "packages", "torch", "database", "broker", "address"} <= set(found)


def test_what_differs_from_the_lock_is_named(look: Look, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("numpy==0.1 \\\n    --hash=sha256:x\nnot-there==1\nelsewhere==1 ; sys_platform == 'plan9' \\\n")
    monkeypatch.setattr(doctor, "LOCK", lock)
    code, found = look()
    assert code == 1
    assert "numpy" in found["packages"]["found"]
    assert "not-there is missing" in found["packages"]["found"]
    assert "elsewhere" not in found["packages"]["found"]


def test_a_gpu_that_torch_cant_use_fails(look: Look, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "0000:01:00.0").mkdir()
    monkeypatch.setattr(doctor, "DRIVER", tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # also where there are some
    code, found = look()
    assert code == 1
    assert "1 GPUs in this machine, 0 usable" in found["torch"]["found"]


def test_a_port_that_another_program_holds(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv("LASER_PORT", str(port))
        code, found = look()
    assert code == 1
    assert f"laser up --port {port + 1}" in found["service"]["advice"]


def test_doctor_finds_the_running_platform_well(server: Server) -> None:
    answer = server.json("doctor")
    found = {finding["name"]: finding["found"] for finding in answer["findings"]}
    assert answer["ok"] is True
    assert found["broker"].startswith("redis+socket://")
    assert found["service"].endswith("as local (admin)")
