"""A whole Celery worker: rings, slots, shutting down, the reconciler beside it."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from laser_core.config import InspectConfig, parse_run
from store import events, workers
from store.pause import request_pause, resume
from store.requests import Request
from store.runs import get_run
from store.settings import MIB
from store.states import State
from store.submit import create_run
from worker.reconciler import bell

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]


@pytest.fixture
def ring(broker_url):
    return lambda: bell(broker_url).send_task("worker.ring", ignore_result=True)


def test_one_ring_trains_everything_queued(start_worker, submit, tiny, ring, finished):
    worker = start_worker()
    quick = tiny | {"training": tiny["training"] | {"steps": 3}}
    runs = [submit(**quick, seed=seed) for seed in range(2)]
    ring()
    ended = [finished(run.id) for run in runs]
    assert [run.state for run in ended] == [State.succeeded] * 2, [run.reason for run in ended]
    assert "torch" not in (loaded := _libraries(worker.processes("celery"))), loaded


def test_a_run_that_nobody_rang_for_is_trained_too(start_worker, submit, tiny, finished):
    start_worker()
    run = submit(**tiny | {"training": tiny["training"] | {"steps": 3}})
    assert finished(run.id).state == State.succeeded


def test_a_configuration_that_cannot_be_trained_fails_and_names_its_field(start_worker, submit, finished):
    start_worker()
    run = submit(device="cuda")
    ended = finished(run.id)
    assert ended.state == State.failed
    assert ended.reason.startswith("device:")


@pytest.mark.parametrize("whom", ["main", "group"])
def test_shutting_down_hands_the_run_back_with_a_checkpoint(
    engine, start_worker, submit, tiny, midway, whom, eventually, assert_undisturbed
):
    worker = start_worker()
    run = submit(**tiny)
    midway(run.id)
    (os.kill if whom == "main" else os.killpg)(worker.main.pid, signal.SIGTERM)
    assert worker.main.wait(60) == 0, worker.log.read_text()[-3000:]
    eventually(lambda: not worker.processes(), "the end of every process", 15)
    waiting = get_run(engine, run.id)
    assert (waiting.state, waiting.attempt) == (State.queued, 1)
    assert waiting.checkpoint_step >= waiting.step > 0
    start_worker()
    assert assert_undisturbed(run.id).attempt == 2


def test_a_drained_worker_hands_over_within_a_minute_and_another_goes_on(
    engine, start_worker, submit, tiny, midway, eventually, assert_undisturbed
):
    start_worker()
    run = submit(**tiny)
    midway(run.id)
    drained = get_run(engine, run.id).worker_id
    began = time.monotonic()
    workers.drain(engine, drained, True)
    eventually(lambda: get_run(engine, run.id).state == State.queued)
    assert time.monotonic() - began < 60
    start_worker()
    ended = assert_undisturbed(run.id)
    assert ended.attempt == 2
    assert any("is drained" in event.data.get("reason", "") for event in events.after(engine, run.id, kind="state"))


def test_a_paused_run_goes_on_as_if_nothing_had_been(
    engine, start_worker, submit, tiny, midway, eventually, assert_undisturbed
):
    start_worker()
    run = submit(**tiny)
    midway(run.id)
    request_pause(engine, run.id)
    eventually(lambda: get_run(engine, run.id).state == State.paused)
    resume(engine, run.id)
    assert assert_undisturbed(run.id).attempt == 2


def test_runs_share_a_cpu_slot_by_memory_and_an_understated_ask_is_caught(
    engine, start_worker, owner, tiny, finished, monkeypatch
):
    monkeypatch.setenv("LASER_CPU_MEMORY", "16")
    start_worker(slots=3)
    quick = parse_run({"kind": "train", **tiny, "training": tiny["training"] | {"steps": 30}})
    asks = (None, 1 * MIB)
    made = [
        create_run(engine, replace(quick, seed=i), owner, request=Request(memory_bytes=ask))[0]
        for i, ask in enumerate(asks)
    ]
    fair, understated = (finished(run.id) for run in made)
    assert (fair.state, fair.attempt, fair.memory_asked) == (State.succeeded, 1, None)
    assert 0 < fair.memory_peak < fair.memory <= 16 * MIB
    assert (understated.state, understated.attempt) == (State.succeeded, 2)
    moves = [event.data["reason"] for event in events.after(engine, understated.id, kind="state")]
    assert any(
        "more than the 1.0 MiB that the run was given" in reason and "back in the queue" in reason for reason in moves
    )


def test_an_inspection_is_answered_while_every_slot_trains(engine, start_worker, owner, submit, tiny, midway, finished):
    start_worker(slots=1)
    trained = submit(**tiny | {"training": tiny["training"] | {"steps": 3}})
    assert finished(trained.id).state == State.succeeded
    long = submit(**tiny | {"training": tiny["training"] | {"steps": 100_000}})
    midway(long.id)
    asked = create_run(engine, InspectConfig(trained.id), owner)[0]
    assert finished(asked.id).state == State.succeeded
    assert get_run(engine, long.id).state == State.running


def test_nothing_is_left_when_the_main_process_is_killed(engine, start_worker, submit, tiny, midway, eventually):
    worker = start_worker(slots=2)
    runs = [submit(**tiny, seed=seed) for seed in range(2)]
    for run in runs:
        midway(run.id)
    assert len(worker.processes("worker.trainer")) == 2
    worker.kill()
    eventually(lambda: not worker.processes(), "the end of every process", 10)


def test_the_reconciler_is_kept_alive(engine, start_worker, eventually):
    worker = start_worker()
    (first,) = worker.processes("worker.reconciler")
    os.kill(first, signal.SIGKILL)
    eventually(lambda: [pid for pid in worker.processes("worker.reconciler") if pid != first])
    seen = workers.list_workers(engine)[0].seen_at
    eventually(lambda: workers.list_workers(engine)[0].seen_at > seen, "another beat")


def _libraries(pids):
    """Names of the shared libraries that the processes have mapped."""
    return " ".join(Path(f"/proc/{pid}/maps").read_text() for pid in pids)
