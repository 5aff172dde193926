"""Claiming, fencing by epoch, leases and endings."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from laser_core.config import EvalConfig
from laser_core.events import CheckpointSaved, Log, Progress
from store import claims, database, events
from store.dialect import lock_claims
from store.errors import Conflict, Superseded
from store.ingest import ingest
from store.runs import get_run, lock, request_cancel
from store.states import FINAL, TRANSITIONS, State
from store.submit import create_run
from store.tables import runs

LEASE_S = 20.0
T0 = time.time()


@pytest.fixture
def take(engine, settings):
    def take(now=T0, worker="w1"):
        return claims.claim_run(engine, worker, LEASE_S, settings=settings, now=now)

    return take


@pytest.fixture
def running(engine, submit, take):
    """A run that a worker trains under epoch 1."""
    run = submit()
    claim = take()
    claims.mark_running(engine, run.id, claim.epoch, now=T0)
    return run.id


def states(engine, run_id):
    return [event.data["state"] for event in events.after(engine, run_id, kind="state")]


def test_a_run_is_claimed_once_and_oldest_first(engine, submit, take):
    first, second = submit(seed=1), submit(seed=2)
    assert claims.queued_count(engine) == 2
    one, two = take(), take()
    assert (one.run_id, two.run_id, take()) == (first.id, second.id, None)
    assert one.epoch == 1
    assert one.config == first.config
    assert get_run(engine, first.id).state == State.starting
    assert claims.queued_count(engine) == 0


def test_who_waited_for_the_database_has_the_whole_lease(engine, database_url, settings, submit, running):
    """A lease is counted from the moment at which it is written, not from the one at which it was asked for."""
    queued = submit(seed=1).id
    other = database.connect(database_url)
    with ThreadPoolExecutor(2) as pool:
        with database.write(other) as connection:
            lock_claims(connection), lock(connection, running)
            claiming = pool.submit(claims.claim_run, engine, "w2", LEASE_S, settings=settings)
            beating = pool.submit(claims.heartbeat, engine, running, 1, LEASE_S)
            time.sleep(0.3)
            free_at = time.time()
        claiming.result(), beating.result()
    other.dispose()
    with database.read(engine) as connection:
        until = {row.id: row.lease_until for row in connection.execute(sa.select(runs))}
    assert until[queued] >= free_at + LEASE_S
    assert until[running] >= free_at + LEASE_S


def test_many_claimers_never_share_a_run(engine, submit, settings):
    submitted = {submit(seed=seed).id for seed in range(40)}
    taken: list[str] = []

    def claim_all(name):
        while claim := claims.claim_run(engine, name, LEASE_S, settings=settings, now=T0):
            taken.append(claim.run_id)

    threads = [threading.Thread(target=claim_all, args=(f"w{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # PostgreSQL may tell a claimer that nothing is ready while another holds the last row; the doorbell rings again.
    while claim := claims.claim_run(engine, "last", LEASE_S, settings=settings, now=T0):
        taken.append(claim.run_id)
    assert sorted(taken) == sorted(submitted)
    assert all(get_run(engine, run_id).epoch == 1 for run_id in submitted)


def test_a_lost_run_returns_to_the_queue_and_the_old_worker_is_fenced(engine, running, take):
    assert claims.expire_leases(engine, now=T0 + LEASE_S - 1) == []
    assert claims.expire_leases(engine, now=T0 + LEASE_S + 1) == [running]
    assert claims.expire_leases(engine, now=T0 + LEASE_S + 1) == []
    run = get_run(engine, running)
    assert run.state == State.queued
    assert "w1 was lost" in run.reason
    for stale in (
        lambda: claims.heartbeat(engine, running, 1, LEASE_S),
        lambda: claims.mark_running(engine, running, 1),
        lambda: claims.finish(engine, running, 1, State.succeeded),
        lambda: claims.release(engine, running, 1, "drained"),
        lambda: ingest(engine, running, 1, 0, 10, [Log("late")]),
    ):
        with pytest.raises(Superseded):
            stale()
    again = take(now=T0 + 30, worker="w2")
    assert (again.run_id, again.epoch) == (running, 2)
    with pytest.raises(Superseded):
        claims.finish(engine, running, 1, State.succeeded)
    claims.mark_running(engine, running, 2)
    claims.finish(engine, running, 2, State.succeeded)
    assert states(engine, running) == ["queued", "starting", "running", "queued", "starting", "running", "succeeded"]


def test_a_beat_extends_the_lease_and_shows_progress(engine, running):
    assert claims.heartbeat(engine, running, 1, LEASE_S, Progress(7, 100, 0.5), now=T0 + 15) == claims.Orders(False)
    assert claims.expire_leases(engine, now=T0 + 30) == []
    run = get_run(engine, running)
    assert (run.step, run.steps, run.step_time_s) == (7, 100, 0.5)


def test_a_run_that_kills_its_workers_fails(engine, running, take):
    now = T0
    for attempt in (1, 2, 3):
        now += LEASE_S + 1
        assert claims.expire_leases(engine, max_attempts=3, now=now) == [running]
        if attempt < 3:
            assert take(now=now).epoch == attempt + 1
    run = get_run(engine, running)
    assert run.state == State.failed
    assert "3 workers lost without a new checkpoint" in run.reason


def test_a_new_checkpoint_clears_the_count_of_lost_workers(engine, running, take):
    now = T0
    for attempt in range(1, 6):
        saved = CheckpointSaved(10 * attempt, f"step-{attempt}", {"model.safetensors": "0" * 64}, 10)
        ingest(engine, running, attempt, 0, 10, [saved])
        now += LEASE_S + 1
        claims.expire_leases(engine, max_attempts=2, now=now)
        claim = take(now=now)
        assert claim.checkpoint == f"step-{attempt}"
        assert get_run(engine, running).step == 10 * attempt


def test_cancelling_a_queued_run_is_immediate(engine, submit, take):
    run = submit()
    assert request_cancel(engine, run.id).state == State.cancelled
    assert request_cancel(engine, run.id).state == State.cancelled
    assert take() is None


def test_cancelling_a_running_run_goes_through_its_worker(engine, running):
    assert request_cancel(engine, running).state == State.cancelling
    assert claims.heartbeat(engine, running, 1, LEASE_S).cancel
    claims.mark_running(engine, running, 1)  # changes nothing
    claims.finish(engine, running, 1, State.cancelled, "at step 5")
    run = get_run(engine, running)
    assert (run.state, run.reason) == (State.cancelled, "at step 5")
    assert run.finished_at is not None


@pytest.mark.parametrize("silent", [True, False], ids=["silent", "deaf"])
def test_a_worker_that_never_answers_a_cancel_cannot_hold_the_run(engine, running, silent):
    request_cancel(engine, running, now=T0)
    now = T0 + LEASE_S + 1 if silent else T0 + 121
    if not silent:
        claims.heartbeat(engine, running, 1, 10 * LEASE_S, now=now)
    assert claims.expire_leases(engine, now=now) == [running]
    assert get_run(engine, running).state == State.cancelled


def test_a_cancel_that_comes_too_late_leaves_the_true_ending(engine, running):
    request_cancel(engine, running)
    claims.finish(engine, running, 1, State.succeeded)
    assert get_run(engine, running).state == State.succeeded
    with pytest.raises(Conflict, match="succeeded already"):
        request_cancel(engine, running)


def test_release_gives_back_without_counting_as_lost(engine, running, take):
    for attempt in range(1, 6):
        claims.release(engine, running, attempt, "worker drained", now=T0)
        assert get_run(engine, running).state == State.queued
        assert take().epoch == attempt + 1


def test_finish_can_be_repeated_but_not_changed(engine, running):
    claims.finish(engine, running, 1, State.failed, "out of memory", result={"values": {"loss": float("nan")}})
    claims.finish(engine, running, 1, State.failed, "out of memory")
    with pytest.raises(Superseded):
        claims.finish(engine, running, 1, State.succeeded)
    assert get_run(engine, running).reason == "out of memory"
    assert states(engine, running).count("failed") == 1


def test_finish_refuses_what_is_no_ending(engine, running):
    with pytest.raises(Conflict, match="cancelled, failed, succeeded"):
        claims.finish(engine, running, 1, State.queued)
    with pytest.raises(Conflict, match="can't become"):
        claims.finish(engine, running, 1, State.cancelled)  # nobody asked


def test_every_state_ends_and_final_states_stay(engine):
    assert set(TRANSITIONS) == set(State)
    assert {state for state, targets in TRANSITIONS.items() if not targets} == FINAL
    for state in set(State) - FINAL:
        reached, new = {state}, {state}
        while new:
            new = set().union(*(TRANSITIONS[s] for s in new)) - reached
            reached |= new
        assert reached >= FINAL


def test_an_eval_waits_for_its_training_run(engine, owner, running, take):
    evaluation, _ = create_run(engine, EvalConfig(checkpoint=running), owner)
    assert take() is None
    saved = CheckpointSaved(5, "step-5", {"model.safetensors": "0" * 64}, 10)
    ingest(engine, running, 1, 0, 10, [saved])
    assert take() is None
    claims.finish(engine, running, 1, State.succeeded)
    claim = take()
    assert claim.run_id == evaluation.id
    assert claim.luggage.source_checkpoint.parts[-3:] == (running, "checkpoints", "step-5")


def test_an_eval_whose_training_run_left_no_checkpoint_fails(engine, owner, running, take):
    evaluation, _ = create_run(engine, EvalConfig(checkpoint=running), owner)
    claims.finish(engine, running, 1, State.failed, "broken")
    assert take() is None
    assert claims.expire_leases(engine, now=T0) == [evaluation.id]
    assert get_run(engine, evaluation.id).reason == "its training run ended without a checkpoint"


def test_one_leader_at_a_time(engine):
    assert claims.lead(engine, "reconciler", "a", 10, now=T0)
    assert not claims.lead(engine, "reconciler", "b", 10, now=T0 + 5)
    assert claims.lead(engine, "reconciler", "a", 10, now=T0 + 5)
    assert not claims.lead(engine, "reconciler", "b", 10, now=T0 + 12)
    assert claims.lead(engine, "reconciler", "b", 10, now=T0 + 16)
    assert not claims.lead(engine, "reconciler", "a", 10, now=T0 + 17)


def test_a_killed_training_process_counts_as_lost(engine, running, take):
    for attempt in (1, 2, 3):
        claims.lose(engine, running, attempt, "killed by signal 9", max_attempts=3, now=T0)
        if attempt < 3:
            assert get_run(engine, running).state == State.queued
            assert take().epoch == attempt + 1
    run = get_run(engine, running)
    assert run.state == State.failed
    assert run.reason == "killed by signal 9; lost 3 times without a new checkpoint, so it isn't tried again"
    with pytest.raises(Superseded):
        claims.lose(engine, running, 3, "again")
