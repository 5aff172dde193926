"""kill -9 of every part in the middle of a run: it succeeds, without a gap, to the same weights."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.platform import Platform, eventually

STEPS = 200
PARTS = {
    "worker": ("celery", "worker"),
    "trainer": ("worker.trainer",),
    "api": ("-m api",),
    "broker": ("valkey",),
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(platform: Platform) -> dict[str, Any]:
    """The same run, left alone."""
    return {}


@pytest.mark.parametrize("part", PARTS)
def test_a_killed_part_costs_nothing(
    platform: Platform, tiny: Callable[..., dict[str, Any]], undisturbed: dict[str, Any], part: str
) -> None:
    config = tiny(training={"steps": STEPS, "checkpoint_every": 40}, store={"kind": "laser", "energy": 0.9})
    if not undisturbed:
        calm = platform.finished(platform.submit({**config, "name": "undisturbed"}))
        assert calm["state"] == "succeeded", calm["reason"]
        undisturbed |= {"points": platform.points(calm["id"], "train.loss"), "result": calm["result"]}
        assert [step for step, _ in undisturbed["points"]] == list(range(1, STEPS + 1))

    run_id = platform.submit({**config, "name": f"without its {part}"})
    eventually("training", lambda: 50 <= platform.run(run_id)["step"] < STEPS)
    (victim, *_) = platform.pids(*PARTS[part])
    os.kill(victim, signal.SIGKILL)

    run = platform.finished(run_id)
    assert run["state"] == "succeeded", run["reason"]
    assert platform.points(run_id, "train.loss") == undisturbed["points"]
    assert run["result"]["weights_sha256"] == undisturbed["result"]["weights_sha256"]
    if part in ("worker", "trainer"):
        assert run["attempt"] == 2
