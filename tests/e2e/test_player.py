"""The recursion player: puzzles followed through trained checkpoints, by commands and in the browser."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from tests.e2e.platform import LASER, Platform

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SOLVED = "1234341221434321"
HALF = "12..34....43..21"
TWO_SOLUTIONS = "12..34..2143...."


@pytest.fixture(scope="module")
def pair(platform: Platform) -> dict[str, str]:
    """Ids of a plain and of a LASER run, trained until they solve most puzzles."""
    stores: dict[str, dict[str, Any]] = {
        "none": {"kind": "none"},
        "laser": {"kind": "laser-fused", "rank": 8, "adapt": False},
    }
    submitted = {
        name: platform.submit(
            {
                "kind": "train",
                "name": f"{name} pair",
                "task": {"kind": "sudoku", "size": 4, "train_puzzles": 100, "test_puzzles": 20},
                "model": {"block": "mlp", "width": 32, "heads": 2, "layers": 1, "latent_steps": 3, "cycles": 2},
                "store": store,
                "training": {
                    "steps": 300,
                    "batch_size": 32,
                    "learning_rate": 5e-3,
                    "ema": 0.97,
                    "supervision_steps": 4,
                },
            }
        )
        for name, store in stores.items()
    }
    for run_id in submitted.values():
        assert platform.finished(run_id, 400)["state"] == "succeeded"
    return submitted


def laser(platform: Platform, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, "LASER_URL": platform.url, "LASER_HOME": str(platform.home)}
    return subprocess.run([LASER, "inspect", *arguments], env=settings, capture_output=True, text=True)


def test_a_puzzle_is_followed_on_the_terminal(platform: Platform, pair: dict[str, str]) -> None:
    done = laser(platform, pair["none"], "--puzzle", SOLVED)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 2   3 4\n3 4   1 2\n\n2 1   4 3\n4 3   2 1\n")
    assert "Solved." in done.stdout
    assert "It has one solution." in done.stdout


def test_both_runs_answer_and_asking_again_starts_nothing(platform: Platform, pair: dict[str, str]) -> None:
    asked = (pair["none"], "--beside", pair["laser"], "--puzzle", "." * 16, "--json")
    first = json.loads(laser(platform, *asked).stdout)
    assert [one["plane"] for one in first] == ["measured", "tracked"]
    assert {one["solutions"] for one in first} == {2}
    before = platform.answer("GET", "/runs", params={"kind": "inspect"})["total"]
    assert json.loads(laser(platform, *asked).stdout) == first
    assert platform.answer("GET", "/runs", params={"kind": "inspect"})["total"] == before


def test_an_invalid_puzzle_is_told_at_once(platform: Platform, pair: dict[str, str]) -> None:
    done = laser(platform, pair["none"], "--puzzle", "11" + "." * 14)
    assert done.returncode == 2
    assert "invalid puzzle: two 1s in row 1" in done.stderr
