"""Workers that share no folder: what a run saves goes to a real S3 server, and comes from there."""

from __future__ import annotations

import hashlib
import threading
import time

import pytest
import sqlalchemy as sa

from laser_core.config import EvalConfig, parse_run
from store import artifacts, claims, events, metrics
from store.database import write
from store.requests import Request
from store.runs import get_run, request_cancel
from store.settings import Settings
from store.states import State
from store.submit import create_run
from store.tables import runs
from tests.worker.conftest import carried_out
from tests.worker.standin import STEPS

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
pytestmark = [SQLITE, pytest.mark.timeout(400)]


@pytest.fixture
def machine(settings, artifacts_url, tmp_path):
    """``machine("a")``: settings of a worker with a disk of its own."""

    def machine(name, **changes):
        same = settings.model_dump(include={"lease_s", "heartbeat_s", "reconcile_s"})
        return Settings(home=tmp_path / name, artifacts_url=artifacts_url, **same | changes)

    return machine


@pytest.fixture
def kept(engine, machine):
    """``kept(run_id)``: sha256 by path of what the bucket holds of a run, asserted to be just what the database lists."""

    def kept(run_id):
        settings = machine("looks")
        listed = {a.id: a for a in artifacts.list_artifacts(engine, settings, run_id)}
        stored = dict(settings.blobs.list(f"artifacts/{run_id}"))
        found = {}
        for artifact_id, artifact in listed.items():
            _, blob = artifacts.get(engine, settings, artifact_id)
            sha256 = hashlib.sha256(b"".join(settings.blobs.read(blob))).hexdigest()
            assert (sha256, stored.pop(blob.key)) == (artifact.sha256, artifact.size_bytes)
            found[f"{artifact.folder}/{artifact.name}"] = sha256
        assert stored == {}
        return found

    return kept


def left(settings):
    return [*settings.artifacts_dir.glob("*"), *settings.spool_dir.glob("*")]


@pytest.mark.slow
@pytest.mark.parametrize("gpus", [1, 2])
def test_a_run_goes_on_elsewhere_from_what_a_dead_machine_kept(
    start_worker, machine, tiny, midway, kept, engine, owner, finished, eventually, tmp_path, gpus
):
    """With the same weights in the end, also where processes share it: each reads what was fetched, the first one saves. Then
    an evaluation on a third machine fetches the weights."""
    one, two, three = (machine(name) for name in ("one", "two", "three"))
    devices = {"slots": gpus, "CPU_MEMORY": " ".join(["4096"] * gpus)}
    worker = start_worker(of=one, **devices)
    run, _ = create_run(engine, parse_run({"kind": "train", **tiny}), owner, request=Request(gpus=gpus))
    midway(run.id)
    worker.kill()
    worker = start_worker(of=two, **devices)
    ended = finished(run.id)
    assert (ended.state, ended.attempt) == (State.succeeded, 2), ended.reason
    alone = carried_out(tiny, tmp_path, processes=gpus)
    assert ended.result["weights_sha256"] == alone.weights_sha256
    points = [(step, x) for key, step, x in metrics.iter_points(engine, run.id) if key == "train.loss"]
    assert points == sorted(alone.losses.items())
    assert kept(run.id)[f"{ended.checkpoint}/model.safetensors"] == alone.weights_sha256
    *_, resumed = events.after(engine, run.id, kind="started")
    assert (resumed.epoch, resumed.data["step"] > 0) == (2, True)
    eventually(lambda: left(two) == [], "an empty folder")
    worker.kill()

    evaluation, _ = create_run(engine, EvalConfig(checkpoint=run.id), owner)
    start_worker(of=three)
    measured = finished(evaluation.id)
    assert measured.state == State.succeeded, measured.reason
    assert measured.result["values"]["exact_accuracy"] == ended.result["values"]["exact_accuracy"]


@pytest.fixture
def meanwhile(eventually):
    """``meanwhile(when, do)``: a thread that does something once ``when`` holds."""
    threads = []

    def meanwhile(when, do):
        threads.append(threading.Thread(target=lambda: (eventually(when), do())))
        threads[-1].start()

    yield meanwhile
    for thread in threads:
        thread.join()


@pytest.fixture
def logged(engine):
    def logged(run_id):
        return [event.data["message"] for event in events.after(engine, run_id, kind="log")]

    return logged


@pytest.fixture
def saves(slot, machine):
    """``saves("one")``: a slot of that machine whose training process saves real files."""

    def saves(name, scenario="saves", **changes):
        return slot(scenario, settings=machine(name, **changes))

    return saves


def test_only_what_is_named_stays(engine, submit, saves, kept, machine, losses):
    run = submit()
    assert saves("one").take_one()
    assert get_run(engine, run.id).state == State.succeeded
    assert {path.partition("/")[0] for path in kept(run.id)} == {"step-00000015", "step-00000020"}
    assert losses(run.id) == list(range(1, STEPS + 1))
    assert left(machine("one")) == []


def test_an_outage_costs_nothing_and_is_told(engine, submit, saves, kept, logged, losses, storage_server, eventually):
    run = submit()
    storage_server.stop()
    working = threading.Thread(target=saves("one").take_one)
    working.start()
    eventually(lambda: any("tried again" in line for line in logged(run.id)))
    storage_server.start()  # from here, as the kernel ends it with the thread that starts it
    working.join()
    ended = get_run(engine, run.id)
    assert (ended.state, ended.checkpoint, ended.attempt) == (State.succeeded, "step-00000020", 1)
    assert losses(run.id) == list(range(1, STEPS + 1))
    kept(run.id)
    told = " ".join(logged(run.id))
    assert "gives no answer" in told
    assert "is back after" in told
    assert "newer ones replaced it" in told  # of the four checkpoints the disk held the last two


def test_a_run_that_waits_for_the_storage_can_be_cancelled(engine, submit, saves, logged, storage_server, meanwhile):
    run = submit()
    storage_server.stop()
    try:
        meanwhile(lambda: len(logged(run.id)) > 1, lambda: request_cancel(engine, run.id))
        assert saves("one").take_one()
        assert get_run(engine, run.id).state == State.cancelled
    finally:
        storage_server.start()


def test_a_run_whose_time_is_over_before_its_files_have_come_fails(engine, submit, saves, storage_server):
    """And isn't taken again and again."""
    run = submit()
    assert saves("one", "saves and stops").take_one()
    with write(engine) as connection:
        connection.execute(sa.update(runs).values(time_limit_s=0.01))
    storage_server.stop()
    try:
        assert saves("two").take_one()
    finally:
        storage_server.start()
    ended = get_run(engine, run.id)
    assert (ended.state, "time limit" in ended.reason) == (State.failed, True), ended.reason


def test_a_late_attempt_overwrites_and_removes_nothing(engine, submit, saves, machine, kept, meanwhile, logged):
    """Its lease ends while it trains; another machine ends the run, then the first one saves and finds itself fenced. What it
    sent meanwhile is gone again."""
    run = submit()
    go = machine("one").home / "go"

    def end_elsewhere():
        assert claims.expire_leases(engine, 9, now=time.time() + 60) == [run.id]
        assert saves("two").take_one()
        go.touch()

    meanwhile(lambda: logged(run.id), end_elsewhere)
    assert saves("one", "saves late", heartbeat_s=1000).take_one()
    ended = get_run(engine, run.id)
    assert (ended.state, ended.attempt) == (State.succeeded, 2)
    assert {path.partition("/")[0] for path in kept(run.id)} == {"step-00000015", "step-00000020"}
    assert {key.split("/")[2] for key in artifacts.keys(engine, run.id)} == {"2"}
    assert left(machine("one")) == []


def test_a_checkpoint_that_was_lost_there_is_left_out(engine, submit, saves, machine, logged):
    run = submit()
    assert saves("one", "saves and stops").take_one()
    blobs = machine("looks").blobs
    blobs.delete([key for key, _ in blobs.list(f"artifacts/{run.id}") if "00000010" in key])
    assert saves("two", "lists").take_one()
    assert "step-00000005" in logged(run.id)
