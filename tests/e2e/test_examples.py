"""The examples of the documentation, as a reader would run them; a trained run had again, and taken elsewhere."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client.home import Home
from laser_core.checkpoint import load
from store import access, database
from store.restore import restore
from store.settings import Settings
from tests.e2e.platform import LASER, Platform, eventually

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.mark.slow
def test_pairs(platform: Platform, tmp_path: Path) -> None:
    eventually("the word where it runs", lambda: (running := Home(platform.home).running()) and running.url)
    environment = {**os.environ, "LASER_HOME": str(platform.home), "PYTHONPATH": str(EXAMPLES.parents[1])}
    command = [sys.executable, EXAMPLES / "pairs.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sum(": loss " in line for line in lines) == 4
    run_id = max(platform.answer("GET", "/runs?tag=pairs-example")["items"], key=lambda run: run["number"])["id"]
    (weights,) = (tmp_path / "downloads" / run_id).glob("step-*/model.safetensors")
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert sha256 == platform.run(run_id)["result"]["weights_sha256"]
    assert any(f"{weights.name} {sha256[:12]}" in line for line in lines)


@pytest.mark.slow
@pytest.mark.timeout(900)  # on a busy machine
def test_a_run_is_had_again_and_travels(
    platform: Platform, tiny: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    config = tiny("first", seed=5, store={"kind": "laser", "energy": 0.9}, training={"steps": 12})
    run_id = platform.submit(config)
    platform.finished(run_id, 400)
    environment = {**os.environ, "LASER_HOME": str(platform.home), "LASER_URL": platform.url}
    command = [str(LASER), "reproduce", run_id, "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    weights = platform.run(run_id)["result"]["weights_sha256"]
    assert found["identical"]
    assert found["weights_sha256"] == [weights, weights]
    assert found["points"] > 12
    assert found["changed"] == {}

    (tmp_path / "run.zip").write_bytes(platform.http.get(f"/runs/{run_id}/archive").content)
    settings = Settings(home=tmp_path / "elsewhere")
    engine = database.connect(settings.database_url)
    database.migrate(engine)
    with (tmp_path / "run.zip").open("rb") as file:
        taken, _ = restore(engine, settings, file, access.ensure_local_user(engine)[0].id)
    folder = settings.artifacts_dir / taken.id / "checkpoints" / str(taken.checkpoint)
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() == weights
    assert load(folder).step == 12
    engine.dispose()
