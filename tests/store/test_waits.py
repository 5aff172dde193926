"""Runs that come after others: they wait, start, or fail with the reason."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa

from laser_core.config import EvalConfig, parse_run
from store import claims, database, queue, users
from store.errors import Conflict, Refused
from store.requests import Request
from store.runs import delete_run, get_run, request_cancel
from store.states import State
from store.submit import create_run
from store.tables import waits

T0 = time.time()


@pytest.fixture
def after(engine, owner):
    """``after(1, run.id, …)``: a run of seed 1 that comes after the others."""

    def after(seed, *ids, by=owner):
        config = parse_run({"kind": "train", "seed": seed})
        return create_run(engine, config, by, request=Request(after=ids), now=T0 + seed)[0]

    return after


@pytest.fixture
def take(engine, settings):
    def take(now=T0 + 100):
        claim = claims.claim_run(engine, "w1", 1e9, settings=settings, now=now)
        return claim and claim.run_id

    return take


def end(engine, run_id, state, reason=""):
    claims.mark_running(engine, run_id, 1)
    claims.finish(engine, run_id, 1, state, reason)


def test_a_run_waits_until_all_it_comes_after_have_succeeded(engine, settings, after, take):
    first, second = after(1), after(2)
    last = after(3, first.id, second.id)
    assert last.after == (first.id, second.id)
    assert [take(), take(), take()] == [first.id, second.id, None]
    end(engine, first.id, State.succeeded)
    (waiting,) = queue.look(engine, settings).waiting
    assert (waiting.reason, waiting.waits_for, waiting.position) == (f"waits for run {second.id}", (second.id,), None)
    assert take() is None
    assert claims.expire_leases(engine, now=T0) == []
    end(engine, second.id, State.succeeded)
    assert take() == last.id


@pytest.mark.parametrize("ending", [State.failed, State.cancelled])
def test_a_run_fails_when_one_before_it_does_and_so_do_those_behind_it(engine, after, take, ending):
    first = after(1)
    last = after(2, first.id)
    behind = after(3, last.id)
    assert take() == first.id
    if ending == State.cancelled:
        request_cancel(engine, first.id)
    end(engine, first.id, ending, "the loss became nan")
    assert [claims.expire_leases(engine) for _ in range(3)] == [[last.id], [behind.id], []]
    assert get_run(engine, last.id).reason == (
        f"it was to come after run {first.id}, which is {ending}: the loss became nan"
    )
    assert get_run(engine, behind.id).reason.startswith(f"it was to come after run {last.id}, which is failed: it was")
    assert take() is None


def test_what_cannot_be_waited_for_is_refused_by_name(engine, after):
    gone = after(1)
    request_cancel(engine, gone.id)
    for ids, why in ((("r_unknown",), "no run 'r_unknown'"), ((gone.id,), "is cancelled"), (("r\0",), "no run")):
        with pytest.raises(Refused, match=why) as refused:
            after(2, *ids)
        assert refused.value.problems[0].field == "after"


def test_nobody_waits_for_a_run_that_they_may_not_see(engine, after):
    stranger = users.add(engine, "stranger", "member").id
    with pytest.raises(Refused, match="no run"):
        after(2, after(1).id, by=stranger)


def test_a_run_that_others_wait_for_stays(engine, after, take):
    first = after(1)
    last = after(2, first.id)
    take()
    end(engine, first.id, State.succeeded)
    with pytest.raises(Conflict, match=last.id):
        delete_run(engine, first.id)
    assert take() == last.id
    delete_run(engine, first.id)
    assert get_run(engine, last.id).after == ()


def test_an_eval_after_its_own_training_run_waits_once(engine, owner, after):
    trained = after(1)
    create_run(engine, EvalConfig(checkpoint=trained.id), owner, request=Request(after=(trained.id,)))
    with database.read(engine) as connection:
        assert connection.execute(sa.select(waits.c.needs)).scalars().all() == ["success"]
