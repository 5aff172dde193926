"""A run on two devices of one worker: two processes that end together, however that comes about."""

from __future__ import annotations

import os
import signal

import pytest

from laser_core.config import parse_run
from store import metrics, pause
from store.requests import Request
from store.runs import get_run, request_cancel
from store.submit import create_run
from tests.worker.conftest import carried_out
from worker.job import FAILED, LOST, SIGNALLED, STOPPED, TOO_BIG

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def worker(start_worker):
    return start_worker(slots=2, CPU_MEMORY="4096 4096")


@pytest.fixture
def ask(engine, owner, tiny):
    """A run that asks for two devices."""
    return lambda: create_run(engine, parse_run({"kind": "train", **tiny}), owner, request=Request(gpus=2))[0].id


def ranks(worker):
    """The training processes but the launcher, which has the first pid."""
    return worker.processes("worker.trainer")[1:]


@SQLITE
def test_one_process_killed_is_the_attempt_lost_and_nothing_else(
    engine, worker, ask, tiny, midway, finished, eventually, tmp_path
):
    run_id = ask()
    midway(run_id)
    both = ranks(worker)
    assert len(both) == 2
    assert len(get_run(engine, run_id).device.split()) == 2
    os.kill(both[1], signal.SIGKILL)
    run = finished(run_id)
    assert (run.state, run.attempt) == ("succeeded", 2), run.reason
    alone = carried_out(tiny, tmp_path, processes=2)
    points = [(step, x) for key, step, x in metrics.iter_points(engine, run_id) if key == "train.loss"]
    assert points == sorted(alone.losses.items())
    assert run.result["weights_sha256"] == alone.weights_sha256
    eventually(lambda: not worker.processes("worker.trainer"), "the end of every process")


@SQLITE
def test_a_pause_and_a_cancel_reach_both(engine, worker, ask, midway, eventually):
    run_id = ask()
    midway(run_id)
    pause.request_pause(engine, run_id)
    eventually(lambda: get_run(engine, run_id).state == "paused", "the pause")
    paused = get_run(engine, run_id)
    assert paused.checkpoint_step >= paused.step > 0
    assert not worker.processes("worker.trainer")
    pause.resume(engine, run_id)
    eventually(lambda: get_run(engine, run_id).step > paused.step, "going on")
    both = ranks(worker)
    request_cancel(engine, run_id)
    eventually(lambda: get_run(engine, run_id).state == "cancelled", "the cancel")
    eventually(lambda: not set(both) & set(worker.processes("worker.trainer")), "the end of both")


@pytest.mark.parametrize(
    ("codes", "told"),
    [
        ((LOST, -signal.SIGKILL), SIGNALLED + signal.SIGKILL),
        ((LOST, TOO_BIG), TOO_BIG),
        ((FAILED, -signal.SIGTERM), FAILED),
        ((STOPPED, STOPPED), STOPPED),
        ((LOST,), LOST),
        ((-signal.SIGTERM,), STOPPED),
    ],
)
def test_the_launcher_says_what_went_wrong_first(codes, told):
    from worker.launch import outcome  # loads torch

    assert outcome(codes) == told
