"""`laser backup` of a platform at work, `laser restore` into another home."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from client.cli import main
from client.home import Home
from client.http import Client
from client.ports import free_port
from client.stack import Options, running_stack


@pytest.mark.slow
def test_a_restored_platform_knows_its_runs(
    home_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def laser(*arguments: str) -> tuple[object, Any]:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--json"])
        return ended.value.code, json.loads(capsys.readouterr().out)

    def up(home: Path) -> Any:
        return running_stack(Home(home), Options(free_port(21_000), workers=0), lambda line: None)

    file = tmp_path / "backup.zip"
    with up(home_path) as stack, Client(stack.url, Home(home_path).token) as client:
        run = client.submit({"kind": "train", "name": "kept"})
        code, made = laser("backup", str(file), "--files")
        assert (code, made["files"]) == (0, 0)
        code, refused = laser("restore", str(file))
        assert code == 1
        assert "Stop it first" in refused["detail"]
    code, refused = laser("restore", str(file))
    assert code == 2
    assert "isn't empty" in refused["detail"]
    other = tmp_path / "other"
    monkeypatch.setenv("LASER_HOME", str(other))
    assert laser("restore", str(file)) == (0, {**made, "file": str(file)})
    with up(other) as stack, Client(stack.url, Home(other).token) as client:
        assert client.run(run["id"])["name"] == "kept"
        assert client.submit({"kind": "train"})["number"] == run["number"] + 1
