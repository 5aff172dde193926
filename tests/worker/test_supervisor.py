"""A run in a supervisor's hands: its events come home and its end is the true one, whatever happens meanwhile."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from store import claims, events, workers
from store.devices import Device
from store.pause import request_pause, resume
from store.runs import get_run, request_cancel
from store.states import State
from tests.worker.standin import STEPS
from worker import room, supervisor
from worker.process import DirectoryLock

HALF = list(range(1, STEPS // 2 + 1))


@pytest.fixture
def meanwhile(eventually):
    """``meanwhile(when, do)``: a thread that does something once ``when`` holds. Its failure fails the test."""
    threads, errors = [], []

    def meanwhile(when, do):
        def work():
            try:
                eventually(when)
                do()
            except BaseException as error:
                errors.append(error)

        threads.append(threading.Thread(target=work))
        threads[-1].start()

    yield meanwhile
    for thread in threads:
        thread.join()
    assert not errors, errors


@pytest.fixture
def logged(engine):
    def logged(run_id):
        return [event.data["message"] for event in events.after(engine, run_id, kind="log")]

    return logged


def test_nothing_queued_returns_at_once(slot):
    assert not slot("good").take_one()


def test_a_run_is_carried_to_its_end(engine, slot, submit, losses, settings):
    run = submit()
    assert slot("good").take_one()
    ended = get_run(engine, run.id)
    assert (ended.state, ended.step, ended.steps) == (State.succeeded, STEPS, STEPS)
    assert ended.result["weights_sha256"] == "cafe"
    assert losses(run.id) == list(range(1, STEPS + 1))
    assert list(settings.spool_dir.iterdir()) == []


def test_an_error_is_the_reason_and_its_output_is_kept(engine, slot, submit, logged):
    run = submit()
    slot("error").take_one()
    ended = get_run(engine, run.id)
    assert (ended.state, ended.reason) == (State.failed, "the loss became nan at step 10")
    assert logged(run.id)[-2:] == ["a traceback", "of two lines"]


def test_without_an_error_event_the_last_output_is_the_reason(engine, slot, submit):
    run = submit()
    slot("wordless").take_one()
    assert get_run(engine, run.id).reason == "libsomething: cannot go on"


def test_a_killed_training_process_is_tried_again_but_not_for_ever(engine, slot, submit, settings, losses):
    run = submit()
    for attempt in range(1, settings.max_attempts + 1):
        assert get_run(engine, run.id).state == State.queued
        assert slot("killed").take_one()
        assert get_run(engine, run.id).attempt == attempt
    ended = get_run(engine, run.id)
    assert ended.state == State.failed
    assert "SIGKILL" in ended.reason
    assert "isn't tried again" in ended.reason
    assert losses(run.id) == HALF
    assert not slot("killed").take_one()


def test_a_full_disk_costs_the_run_nothing(engine, slot, submit, settings, losses):
    """However often it happens, and no run is taken while too little is free, nor at once by who found no room."""
    run = submit()
    for attempt in range(1, settings.max_attempts + 2):
        assert slot("no room").take_one()
        back = get_run(engine, run.id)
        assert (back.state, back.epoch) == (State.queued, attempt)
        assert "No space left" in back.reason
    found_no_room = slot("no room")
    assert found_no_room.take_one()
    assert not found_no_room.take_one()
    attempt += 1
    plenty = settings.model_copy(update={"min_free_mib": 2**40})
    assert not slot("good", settings=plenty).take_one()
    assert get_run(engine, run.id).epoch == attempt
    assert slot("good").take_one()
    assert losses(run.id) == list(range(1, STEPS + 1))


def test_cancelling_stops_the_training_process(engine, slot, submit, meanwhile, losses):
    run = submit()
    meanwhile(lambda: losses(run.id), lambda: request_cancel(engine, run.id))
    slot("patient").take_one()
    ended = get_run(engine, run.id)
    assert (ended.state, ended.reason) == (State.cancelled, "cancelled at step 10")
    assert ended.checkpoint == "step-00000010"


def test_one_that_does_not_listen_is_killed(engine, slot, submit, meanwhile, losses, monkeypatch):
    monkeypatch.setattr(supervisor, "CANCEL_GRACE_S", 0.5)
    run = submit()
    meanwhile(lambda: losses(run.id), lambda: request_cancel(engine, run.id))
    slot("stubborn").take_one()
    assert get_run(engine, run.id).state == State.cancelled


def test_draining_leaves_a_checkpoint_and_gives_the_run_back(engine, slot, submit, losses):
    run = submit()
    slot("patient", is_draining=lambda: bool(losses(run.id))).take_one()
    waiting = get_run(engine, run.id)
    assert (waiting.state, waiting.checkpoint) == (State.queued, "step-00000010")
    assert "shuts down" in waiting.reason
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT lost FROM runs")).scalar() == 0


def test_a_run_cut_short_before_its_first_word_is_where_its_checkpoint_is(engine, slot, submit, losses, logged):
    run = submit()
    slot("patient", is_draining=lambda: bool(losses(run.id))).take_one()
    slot("mute", is_draining=lambda: "here" in logged(run.id)).take_one()
    waiting = get_run(engine, run.id)
    assert (waiting.epoch, waiting.checkpoint) == (2, "step-00000010")
    assert waiting.reason.startswith("the worker shuts down at step 10")


def test_a_run_that_needs_more_memory_gets_more_once(engine, slot, submit):
    run, devices = submit(), (Device("w1/cpu0", "cpu", 2**40),)
    assert slot("large", devices=devices).take_one()
    waiting = get_run(engine, run.id)
    assert (waiting.state, waiting.memory) == (State.queued, 2 * run.memory)
    assert waiting.reason.startswith(f"out of memory: more than {run.memory}, at step 10; back in the queue")
    assert slot("large", devices=devices).take_one()
    assert get_run(engine, run.id).state == State.failed


def test_a_run_of_the_low_band_makes_way_with_a_checkpoint(engine, slot, submit, meanwhile, losses):
    run = submit()

    def ask():
        with engine.begin() as connection:
            connection.exec_driver_sql("UPDATE runs SET preempted = epoch")

    meanwhile(lambda: losses(run.id), ask)
    slot("patient").take_one()
    waiting = get_run(engine, run.id)
    assert (waiting.state, waiting.checkpoint) == (State.queued, "step-00000010")
    assert waiting.reason.startswith("made way for a run of a higher band at step 10")
    assert slot("good").take_one()
    assert get_run(engine, run.id).state == State.succeeded


def test_a_run_whose_time_is_over_ends_with_a_checkpoint(engine, slot, submit):
    run = submit()
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE runs SET time_limit_s = 0.5")
    slot("patient").take_one()
    ended = get_run(engine, run.id)
    assert (ended.state, ended.checkpoint) == (State.failed, "step-00000010")
    assert "time limit was reached at step 10" in ended.reason


def test_a_paused_run_leaves_a_checkpoint_and_waits_for_its_resume(engine, slot, submit, meanwhile, losses):
    run = submit()
    meanwhile(lambda: losses(run.id), lambda: request_pause(engine, run.id))
    slot("patient").take_one()
    waiting = get_run(engine, run.id)
    assert (waiting.state, waiting.reason, waiting.checkpoint) == (State.paused, "paused at step 10", "step-00000010")
    assert not slot("good").take_one()
    resume(engine, run.id)
    assert slot("good").take_one()
    assert get_run(engine, run.id).state == State.succeeded


def test_who_cancels_while_a_run_pauses_gets_it_cancelled(engine, slot, submit, meanwhile, losses):
    run = submit()
    meanwhile(lambda: losses(run.id), lambda: (request_pause(engine, run.id), request_cancel(engine, run.id)))
    slot("patient").take_one()
    assert get_run(engine, run.id).state == State.cancelled


def test_a_drained_worker_gives_its_run_back_and_takes_none(engine, slot, submit, meanwhile, losses):
    workers.register(engine, "w1", "here", 7, 1, "cpu", "1")
    run = submit()
    meanwhile(lambda: losses(run.id), lambda: workers.drain(engine, "w1", True))
    slot("patient").take_one()
    waiting = get_run(engine, run.id)
    assert (waiting.state, waiting.checkpoint) == (State.queued, "step-00000010")
    assert "is drained" in waiting.reason
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT lost FROM runs")).scalar() == 0
    assert not slot("good").take_one()
    workers.drain(engine, "w1", False)
    assert slot("good").take_one()


def test_code_of_another_version_than_the_database_takes_nothing(engine, slot, submit):
    run = submit()
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert not slot("good").take_one()
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT state FROM runs")).scalar() == "queued", run.id


def test_a_superseded_supervisor_ends_its_training_process_and_writes_nothing(engine, slot, submit, meanwhile, losses):
    run = submit()

    def expire():
        assert claims.expire_leases(engine, now=2e10) == [run.id]

    meanwhile(lambda: losses(run.id), expire)
    slot("stubborn").take_one()  # returns, so the process is gone
    waiting = get_run(engine, run.id)
    assert waiting.state == State.queued
    assert "was lost" in waiting.reason


def test_a_database_that_goes_away_costs_nothing(engine, slot, submit, meanwhile, losses, outage):
    """It is away while the run trains, ends and settles."""
    run, back = submit(), threading.Event()

    def cut():
        with outage():
            back.wait(4)

    meanwhile(lambda: get_run(engine, run.id).state == State.running, cut)
    slot("unhurried").take_one()
    back.set()
    assert get_run(engine, run.id).state == State.succeeded
    assert losses(run.id) == list(range(1, STEPS + 1))


def test_the_training_process_knows_no_secret(engine, slot, submit, logged, monkeypatch):
    monkeypatch.setenv("LASER_DATABASE_URL", "postgresql://user:password@host/db")
    monkeypatch.setenv("PGPASSWORD", "password")
    run = submit()
    slot("environment", devices=(Device("u", "GPU", visible="7"),)).take_one()
    names = logged(run.id)[0].split()
    assert {"PATH", "CUDA_VISIBLE_DEVICES", "OMP_WAIT_POLICY"} <= set(names)
    assert not {"LASER_DATABASE_URL", "PGPASSWORD", "PYTEST_CURRENT_TEST"} & set(names)


def test_checkpoints_that_the_database_never_heard_of_are_removed(engine, slot, submit, settings):
    run = submit()
    stale = settings.artifacts_dir / run.id / "checkpoints" / "step-00000900"
    stale.mkdir(parents=True)
    slot("good").take_one()
    assert not stale.exists()


def test_a_supervisor_that_cannot_start_the_training_process_gives_the_run_back(engine, slot, submit, monkeypatch):
    run, made = submit(), slot("good")
    made.forkserver._popen.kill()
    made.forkserver._popen.wait()
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    assert made.take_one()
    waiting = get_run(engine, run.id)
    assert waiting.state == State.queued
    assert "/nonexistent/python" in waiting.reason


def test_a_disk_that_is_full_when_the_process_begins_ends_it_and_harms_no_other(
    engine, slot, submit, monkeypatch, losses
):
    full, other, made, begun = submit(), submit(), slot("good"), []
    name_holder = DirectoryLock.name_holder
    monkeypatch.setattr(room, "REST_S", 0.0)

    def no_room(lock, pid):
        begun.append(pid)
        monkeypatch.setattr(DirectoryLock, "name_holder", name_holder)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(DirectoryLock, "name_holder", no_room)
    assert made.take_one()
    assert get_run(engine, full.id).state == State.queued
    assert "worker.trainer" not in Path(f"/proc/{begun[0]}/cmdline").read_text()  # ended, and not yet reaped
    assert made.take_one()
    assert made.take_one()
    for run in (full, other):
        assert get_run(engine, run.id).state == State.succeeded
        assert losses(run.id) == list(range(1, STEPS + 1))


def test_descriptors_are_given_back(slot, submit):
    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    submit(), submit()
    made = slot("good")
    made.take_one()
    before = descriptors()
    made.take_one()
    assert descriptors() == before
