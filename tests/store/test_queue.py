"""The queue as people see it: order, guesses and reasons, beside what claims do."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa

from laser_core.config import parse_run
from store import claims, database, queue, workers
from store.states import State
from store.submit import create_run
from store.tables import runs, users

T0 = time.time()


@pytest.fixture
def look(engine, settings):
    return lambda now=T0, **changes: queue.look(engine, settings.model_copy(update=changes), now=now)


@pytest.fixture
def lab(engine, settings):
    class Lab:
        def users(self, *names):
            rows = [{"id": f"u_{name}", "name": name, "role": "member", "created_at": T0} for name in names]
            with database.write(engine) as connection:
                connection.execute(sa.insert(users), rows)

        def worker(self, name="w1", slots=1, pools=(), now=T0):
            workers.register(engine, name, "here", 1, slots, "cpu", "1", pools, now=now)

        def submit(self, name, seed, at=T0, **columns):
            run = create_run(engine, parse_run({"kind": "train", "seed": seed}), f"u_{name}", now=at)[0]
            if columns:
                with database.write(engine) as connection:
                    connection.execute(sa.update(runs).where(runs.c.id == run.id).values(**columns))
            return run.id

        def take(self, now=T0, worker="w1", **changes):
            claim = claims.claim_run(engine, worker, 1e9, settings=settings.model_copy(update=changes), now=now)
            if claim:
                claims.mark_running(engine, claim.run_id, claim.epoch, now=now)
            return claim and claim.run_id

        def finish(self, run_id, now):
            claims.finish(engine, run_id, 1, State.succeeded, now=now)

    return Lab()


def test_the_first_in_the_queue_is_the_one_that_is_claimed(lab, look):
    lab.users("ann", "bob", "cem")
    for seed in range(4):
        for name in ("ann", "bob", "cem"):
            lab.submit(name, seed, at=T0 + seed, band=seed % 3)
    for second in range(12):
        now = T0 + 10 + 30 * second
        lab.worker(slots=12, now=now)
        first = look(now).waiting[0]
        assert first.position == 1
        assert lab.take(now) == first.run_id
    assert look().waiting == ()


def test_starts_are_dealt_out_by_how_long_runs_like_it_took(lab, look):
    lab.users("ann")
    lab.worker(slots=2, now=T0 + 100)
    done = lab.submit("ann", 1)
    assert lab.take(T0) == done
    lab.finish(done, T0 + 100)
    ids = [lab.submit("ann", seed, at=T0 + 100) for seed in range(2, 7)]
    seen = look(T0 + 100)
    assert (seen.slots, seen.busy) == (2, 0)
    assert [w.run_id for w in seen.waiting] == ids
    assert [w.starts_in_s for w in seen.waiting] == pytest.approx([0, 0, 100, 100, 200])
    assert [w.reason for w in seen.waiting[:2]] == ["next", "1 before it"]
    lab.take(T0 + 100)
    later = look(T0 + 110)
    assert [w.starts_in_s for w in later.waiting] == pytest.approx([0, 90, 100, 190])


def test_how_long_is_unknown_until_something_has_ended(lab, look):
    lab.users("ann")
    lab.worker()
    lab.submit("ann", 1)
    lab.submit("ann", 2)
    assert [w.starts_in_s for w in look().waiting] == [0, None]


def test_every_run_says_what_it_waits_for(lab, look, engine):
    lab.users("ann")
    waiting = lab.submit("ann", 1)
    assert look().waiting[0].reason == "no worker is alive, or all are drained"
    assert look().waiting[0].position is None
    lab.worker(pools=("cpu",))
    lab.submit("ann", 2, pool="a100")
    follow_up = parse_run({"kind": "eval", "checkpoint": waiting})
    create_run(engine, follow_up, "u_ann", now=T0)
    assert [w.reason for w in look().waiting] == [
        "next", "no live worker has the label 'a100'", f"waits for run {waiting}",
    ]  # fmt: skip
    lab.take(T0)
    lab.submit("ann", 3)
    reasons = {w.reason for w in look(T0 + 1, most_running=1).waiting}
    assert "its owner runs 1 at once, which is the limit" in reasons


def test_standings_show_shares_and_what_was_used(lab, look):
    lab.users("ann", "bob")
    lab.worker()
    lab.submit("ann", 1)
    lab.submit("bob", 1)
    lab.take(T0)
    one, other = look(T0 + 3600).standings
    assert (one.name, one.share, one.running, one.waiting) == ("ann", 0.5, 1, 0)
    assert one.usage_s == pytest.approx(3600, rel=0.01)
    assert (other.usage_s, other.fair_share, other.waiting) == (0, 1, 1)
    assert one.fair_share == pytest.approx(0.25)
