"""Pausing and resuming, from every state."""

from __future__ import annotations

import time

import pytest

from store import audit, claims
from store.errors import Conflict
from store.pause import request_pause, resume
from store.runs import get_run, request_cancel
from store.states import TIMEOUT_S, State

T0 = time.time()


def test_a_waiting_run_is_paused_at_once_and_not_claimed(engine, settings, submit, owner):
    run = submit()
    assert request_pause(engine, run.id, by=owner).state == State.paused
    assert request_pause(engine, run.id, by=owner).reason == "paused by its owner"
    assert claims.claim_run(engine, "w1", 20, settings=settings) is None
    assert resume(engine, run.id, by=owner)[1]
    assert not resume(engine, run.id, by=owner)[1]
    assert claims.claim_run(engine, "w1", 20, settings=settings).run_id == run.id
    assert [entry.action for entry in audit.entries(engine)] == ["run.resume", "run.pause"]


@pytest.mark.parametrize("is_marked", [True, False])
def test_a_held_run_is_paused_by_its_worker(engine, settings, submit, is_marked):
    run = submit()
    claims.claim_run(engine, "w1", 20, settings=settings)
    if is_marked:
        claims.mark_running(engine, run.id, 1)
    assert request_pause(engine, run.id).state == State.pausing
    assert claims.heartbeat(engine, run.id, 1, 20).pause
    with pytest.raises(Conflict, match="still pausing"):
        resume(engine, run.id)
    claims.release(engine, run.id, 1, "paused at step 3")
    assert get_run(engine, run.id).state == State.paused


def test_a_run_whose_worker_is_drained_while_it_pauses_does_not_say_that_it_waits(engine, start):
    pausing, other = start(), start()
    request_pause(engine, pausing)
    for run_id in (pausing, other):
        claims.release(engine, run_id, 1, "the worker is drained at step 3")
    reasons = [get_run(engine, run_id).reason for run_id in (pausing, other)]
    assert reasons == ["the worker is drained at step 3", "the worker is drained at step 3; back in the queue"]


@pytest.mark.parametrize("how", ["silent", "deaf", "killed"])
def test_a_pause_never_hangs(engine, start, how):
    run_id = start()
    request_pause(engine, run_id, now=T0)
    if how == "killed":
        claims.lose(engine, run_id, 1, "killed")
    else:
        later = T0 + TIMEOUT_S[State.pausing] + 1
        if how == "deaf":
            claims.heartbeat(engine, run_id, 1, 1e6, now=T0)
        assert claims.expire_leases(engine, now=later) == [run_id]
    assert get_run(engine, run_id).state == State.paused


def test_what_has_ended_or_is_being_cancelled_is_neither_paused_nor_resumed(engine, start):
    run_id = start()
    request_cancel(engine, run_id)
    for change in (request_pause, resume):
        with pytest.raises(Conflict, match="cancelling"):
            change(engine, run_id)
    claims.release(engine, run_id, 1, "")
    for change in (request_pause, resume):
        with pytest.raises(Conflict, match="cancelled"):
            change(engine, run_id)


def test_a_paused_run_is_cancelled_at_once(engine, submit):
    run = submit()
    request_pause(engine, run.id)
    assert request_cancel(engine, run.id).state == State.cancelled
