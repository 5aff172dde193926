"""The examples of the documentation, as a reader would run them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from client.home import Home
from tests.e2e.platform import Platform, eventually

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
