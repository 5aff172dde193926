"""`laser run` without a platform."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

LASER = Path(sys.executable).with_name("laser")

YAML = """
kind: train
name: here
task: {kind: sudoku, size: 4, train_puzzles: 20, test_puzzles: 10}
model: {width: 16, heads: 2, latent_steps: 1, cycles: 1}
training: {steps: 3, batch_size: 4, log_every: 1}
"""


def files(directory: Path) -> dict[str, object]:
    """Content by name; of files that hold times only the names and what isn't one."""
    found = {str(path.relative_to(directory)): path for path in directory.rglob("*") if path.is_file()}
    rows = csv.reader(found["metrics.csv"].read_text().splitlines())
    same = {name: path.read_bytes() for name, path in found.items() if path.suffix == ".safetensors"}
    same["config.json"] = found["config.json"].read_bytes()
    return dict.fromkeys(found) | same | {"metrics.csv": [row for row in rows if not row[1].startswith("time.")]}


def test_the_files_are_those_of_the_module(tmp_path: Path, home_path: Path) -> None:
    (tmp_path / "local.yaml").write_text(YAML)
    (tmp_path / ".gitignore").write_text("home")
    who = ("-c", "user.name=n", "-c", "user.email=a@b")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True)
    (tmp_path / "local.yaml").write_text(YAML + "seed: 1\n")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [LASER, "run", "local.yaml", "--set", "seed=4", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["directory"] == "runs/here"
    mine = tmp_path / "runs" / "here"
    kept = json.loads((mine / "checkout.json").read_text())
    assert (kept["changed"], kept["untracked"]) == (1, 0)
    assert "+seed: 1\n" in (mine / "checkout.diff").read_text()
    assert answer["result"]["weights_sha256"] == json.loads((mine / "result.json").read_text())["weights_sha256"]

    command = [sys.executable, "-m", "laser_core", str(mine / "config.json"), "--directory", str(tmp_path / "module")]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    of_checkout = {"checkout.json": None, "checkout.diff": None}
    assert files(mine) == files(tmp_path / "module") | of_checkout
    assert {"events.jsonl", "checkpoints/step-00000003/model.safetensors"} < files(mine).keys()

    again = subprocess.run([LASER, "run", "local.yaml"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert again.returncode == 2
    assert "already holds a run" in again.stderr


def test_a_wrong_field_is_named(tmp_path: Path, home_path: Path) -> None:
    command = [LASER, "run", "-", "--set", "training.steps=0"]
    done = subprocess.run(command, cwd=tmp_path, input=YAML, capture_output=True, text=True)
    assert done.returncode == 2
    assert "error: training.steps: expected at least 1, got 0" in done.stderr
    assert list(tmp_path.glob("runs")) == []
