"""The pool's policy: its arithmetic, and the order in which real claims follow it."""

from __future__ import annotations

import math
import time

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from laser_core.config import parse_run
from store import claims, database
from store.accounts import read_accounts
from store.policy import Account, Policy, fair_shares
from store.runs import delete_run
from store.states import State
from store.submit import create_run
from store.tables import attempts, runs, users

POLICY = Policy()
T0 = time.time()
HOUR = 3600.0
hours = st.floats(0, 24 * 60)


@pytest.mark.parametrize("name", ["half_life_s", "age_s"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
def test_times_that_make_no_sense_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=name):
        Policy(**{name: value})


@given(hours, hours, hours)
def test_usage_adds_up_however_it_is_cut(start, first, second):
    start, middle, end = (T0 + HOUR * x for x in (start, start + first, start + first + second))
    whole = POLICY.accrued(start, end, end)
    parts = POLICY.faded(POLICY.accrued(start, middle, middle), end - middle) + POLICY.accrued(middle, end, end)
    assert parts == pytest.approx(whole, rel=1e-6, abs=1e-3)
    assert whole <= (end - start) * (1 + 1e-6) + 1e-3  # never more than the seconds themselves


def test_usage_halves_in_a_half_life_and_a_start_costs_its_advance():
    assert POLICY.faded(100, POLICY.half_life_s) == pytest.approx(50)
    assert POLICY.accrued(T0, None, T0) == pytest.approx(300, rel=1e-3)
    assert POLICY.accrued(T0, None, T0 + 100) == pytest.approx(300, rel=1e-3)
    assert POLICY.accrued(T0, None, T0 + 900) == pytest.approx(900, rel=1e-3)
    assert POLICY.accrued(T0, T0 + 100, T0 + 100) == pytest.approx(100, rel=1e-3)  # the rest was given back


def test_fair_share_is_one_half_where_usage_equals_the_share():
    accounts = {"a": Account(1, 600, 0), "b": Account(1, 600, 0), "idle": Account(5, 0, 0)}
    assert fair_shares(POLICY, accounts, ["a", "b"]) == {"a": (0.5, 0.5), "b": (0.5, 0.5)}
    assert fair_shares(POLICY, {"a": Account(1, 0, 0)}, ["a"]) == {"a": (1.0, 1.0)}


@given(
    st.lists(st.tuples(st.floats(0.01, 10), st.floats(0, 1e7)), min_size=2, max_size=8),
    st.floats(0, 30 * 86_400),
    st.floats(0, 30 * 86_400),
)
def test_no_run_overtakes_one_submitted_more_than_the_age_earlier(people, old, young):
    accounts = {str(index): Account(shares, usage, 0) for index, (shares, usage) in enumerate(people)}
    shares = fair_shares(POLICY, accounts, accounts)
    for older, younger in (("0", "1"), ("1", "0")):
        overtakes = POLICY.priority(shares[younger][1], young) > POLICY.priority(shares[older][1], old)
        assert not (overtakes and old - young > POLICY.age_s)


def test_short_waits_weigh_next_to_nothing():
    assert POLICY.age(POLICY.age_s) == 1
    assert POLICY.age(POLICY.age_s / 10) == pytest.approx(0.01)


# --- through the real claims -------------------------------------------------------------------------------------------


@pytest.fixture
def lab(engine, settings):
    """Users by name, and what they submit."""

    class Lab:
        def user(self, name, shares=1.0, most_running=0):
            values = {"id": f"u_{name}", "name": name, "role": "member", "created_at": T0}
            with database.write(engine) as connection:
                connection.execute(sa.insert(users).values(**values, shares=shares, most_running=most_running))

        def submit(self, name, seed, at=T0, **request):
            run = create_run(engine, parse_run({"kind": "train", "seed": seed}), f"u_{name}", now=at)[0]
            if request:
                with database.write(engine) as connection:
                    connection.execute(sa.update(runs).where(runs.c.id == run.id).values(**request))
            return run.id

        def take(self, now=T0, **changes):
            claim = claims.claim_run(engine, "w1", 1e9, settings=settings.model_copy(update=changes), now=now)
            return claim and claim.run_id

        def finish(self, run_id, now):
            claims.mark_running(engine, run_id, 1, now=now)
            claims.finish(engine, run_id, 1, State.succeeded, now=now)

        def usage(self, name, now):
            with database.read(engine) as connection:
                return read_accounts(connection, POLICY, now)[f"u_{name}"].usage

    return Lab()


def test_users_alternate_though_one_submitted_everything_first(lab):
    lab.user("ann")
    lab.user("bob")
    anns = [lab.submit("ann", seed) for seed in range(3)]
    bobs = [lab.submit("bob", seed, at=T0 + 1) for seed in range(3)]
    taken = [lab.take(T0 + 2 + second) for second in range(6)]
    assert taken[:2] == [anns[0], bobs[0]]
    assert sorted(taken[:4]) == sorted(anns[:2] + bobs[:2])


def test_a_user_with_three_shares_gets_three_slots_of_four(lab):
    lab.user("ann", shares=3)
    lab.user("bob")
    anns = {lab.submit("ann", seed) for seed in range(12)}
    for seed in range(12):
        lab.submit("bob", seed)
    taken = [lab.take(T0 + second) for second in range(16)]
    assert sum(run in anns for run in taken) == 12


def test_usage_of_a_deleted_run_stays(lab, engine):
    lab.user("ann")
    run_id = lab.submit("ann", 1)
    lab.take(T0)
    lab.finish(run_id, T0 + HOUR)
    used = lab.usage("ann", T0 + HOUR)
    delete_run(engine, run_id, policy=POLICY, now=T0 + HOUR)
    assert lab.usage("ann", T0 + HOUR) == pytest.approx(used)
    assert used == pytest.approx(HOUR, rel=0.01)


def test_bands_come_before_shares_and_age_before_both_in_time(lab):
    lab.user("ann")
    lab.user("bob")
    low, normal = lab.submit("ann", 1, band=2), lab.submit("ann", 2)
    high = lab.submit("ann", 3, at=T0 + 60, band=0)
    assert [lab.take(T0 + 61) for _ in range(3)] == [high, normal, low]
    old = lab.submit("ann", 4, at=T0 + 100)
    lab.submit("bob", 1, at=T0 + 100 + POLICY.age_s + 1)
    assert lab.take(T0 + 101 + POLICY.age_s) == old  # though ann has used everything and bob nothing


def test_what_a_worker_or_a_limit_does_not_allow_is_passed_over(lab):
    lab.user("ann", most_running=1)
    lab.user("bob")
    elsewhere, here, more = lab.submit("ann", 1, pool="a100"), lab.submit("ann", 2), lab.submit("ann", 3)
    bobs = lab.submit("bob", 1, at=T0 + 50)
    assert lab.take(T0 + 60) == here
    assert lab.take(T0 + 61) == bobs
    assert lab.take(T0 + 62) is None  # ann's limit
    lab.finish(here, T0 + 70)
    assert lab.take(T0 + 71, pools="big a100") == elsewhere
    lab.finish(elsewhere, T0 + 80)
    assert lab.take(T0 + 81) == more


def test_attempts_are_charged_once_and_usage_is_the_same_before_and_after(lab, engine):
    lab.user("ann")
    run = lab.submit("ann", 1)
    lab.take(T0)
    lab.finish(run, T0 + HOUR)
    before = lab.usage("ann", T0 + HOUR)
    assert before == pytest.approx(HOUR, rel=0.01)
    lab.submit("ann", 2, at=T0 + HOUR)
    lab.take(T0 + HOUR)  # settles
    with database.read(engine) as connection:
        stored, open_ = (
            connection.execute(sa.select(users.c.usage).where(users.c.id == "u_ann")).scalar_one(),
            connection.execute(sa.select(sa.func.count()).where(attempts.c.is_charged.is_(False))).scalar_one(),
        )
    assert stored == pytest.approx(before)
    assert open_ == 1
    assert lab.usage("ann", T0 + HOUR) == pytest.approx(before + POLICY.advance_s, rel=1e-3)
