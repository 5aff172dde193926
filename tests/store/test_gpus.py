"""Runs on several devices of one worker: they take them all at once, are charged for each, and are never starved."""

from __future__ import annotations

import itertools
import time
from random import Random

import pytest
import sqlalchemy as sa

from laser_core.config import parse_run
from store import claims, queue, workers
from store.accounts import read_accounts
from store.database import read
from store.devices import Device
from store.errors import Refused
from store.policy import Policy
from store.preempt import make_way
from store.requests import Request
from store.runs import get_run
from store.states import State
from store.submit import create_run
from store.tables import runs

T0 = time.time()
MIB = 2**20


def devices_of(worker, count):
    return tuple(Device(f"{worker}/cpu{index}", "cpu", 100 * MIB) for index in range(count))


@pytest.fixture
def ask(engine, owner):
    """``ask(1, gpus=2)``: a run of seed 1 that asks for 60 MiB on each of two devices."""

    def ask(seed, gpus=1, mib=60, **asked):
        config = parse_run({"kind": "train", "seed": seed})
        request = Request(memory_bytes=mib * MIB, gpus=gpus, **asked)
        return create_run(engine, config, owner, request=request, now=T0 + seed)[0].id

    return ask


@pytest.fixture
def worker(engine, settings):
    """``take = worker("w1", 2)``: a live worker with two devices, and what it claims."""

    def worker(name, count, **changes):
        found = devices_of(name, count)
        workers.register(engine, name, name, 1, count, "cpu", "1", devices=found, now=T0 + 100)

        def take():
            return claims.claim_run(engine, name, 1e9, settings=settings, devices=found, now=T0 + 100)

        return take

    return worker


@pytest.fixture
def end(engine):
    def end(run_id):
        claims.mark_running(engine, run_id, 1, now=T0 + 101)
        claims.finish(engine, run_id, 1, State.succeeded, now=T0 + 102)

    return end


def taken(claim):
    return None if claim is None else claim.run_id


def test_a_run_takes_all_its_devices_at_once_and_leaves_what_is_over(engine, ask, worker):
    large, small, other = ask(1, gpus=2), ask(2, mib=40), ask(3)
    take = worker("w1", 3)
    claim = take()
    assert (claim.run_id, claim.gpus, len(claim.devices), claim.memory_bytes) == (large, 2, 2, 60 * MIB)
    assert {taken(take()), taken(take()), taken(take())} == {small, other, None}
    (seen,) = workers.list_workers(engine, now=T0 + 100)
    assert sorted(device.reserved_bytes // MIB for device in seen.devices) == [60, 60, 100]
    assert get_run(engine, large).device.split() == [device.uid for device in claim.devices]


def test_every_device_is_charged(engine, ask, worker, owner):
    ask(1, gpus=2)
    worker("w1", 2)()
    policy = Policy()
    with read(engine) as connection:
        usage = read_accounts(connection, policy, T0 + 1100)[owner].usage
    assert usage == pytest.approx(2 * policy.accrued(T0 + 100, None, T0 + 1100))


def test_a_run_that_needs_several_keeps_them_from_runs_behind_it(ask, worker, end):
    first, second = ask(1), ask(2)
    take = worker("w1", 2)
    assert [taken(take()), taken(take())] == [first, second]
    large, behind = ask(3, gpus=2), ask(4)
    end(first)
    assert take() is None  # one device is free, and kept
    before = ask(5, priority="high")
    assert taken(take()) == before  # whose turn is before
    end(before)
    end(second)
    assert taken(take()) == large
    end(large)
    assert taken(take()) == behind


def test_devices_are_kept_on_one_worker_alone(ask, worker, end):
    take, other = worker("w1", 2), worker("w2", 2)
    busy = [ask(seed) for seed in range(1, 5)]
    assert [taken(take()), taken(other()), taken(take()), taken(other())] == busy
    large, behind = ask(5, gpus=2), [ask(6), ask(7), ask(8)]
    end(busy[0])
    assert take() is None
    end(busy[1])
    assert taken(other()) == behind[0]
    end(behind[0])
    end(busy[3])
    assert taken(other()) == large  # room for it at once, wherever it was kept
    assert taken(take()) == behind[1]


@pytest.mark.parametrize("seed", range(3))
def test_a_stream_of_small_runs_starves_no_large_one(engine, ask, worker, end, seed):
    """Each round the oldest run ends and more come than fit; the large one starts once all before it have ended."""
    take, count, random = worker("w1", 3), itertools.count(1), Random(seed)
    running = []

    def round_of_claims(newcomers):
        for _ in range(newcomers):
            ask(next(count), mib=random.randint(30, 60))
        while claim := take():
            running.append((claim.config["seed"], claim.run_id))
        (seen,) = workers.list_workers(engine, now=T0 + 100)
        assert all(device.reserved_bytes <= device.memory_bytes for device in seen.devices)

    round_of_claims(6)
    large = ask(next(count), gpus=2, mib=90)
    for _ in range(6):
        running.sort()
        end(running.pop(0)[1])
        round_of_claims(2)
    assert get_run(engine, large).state == State.starting


def test_runs_of_the_low_band_leave_as_many_devices_as_are_needed(engine, settings, ask, worker):
    take = worker("w1", 3)
    low = [ask(seed, priority="low") for seed in range(1, 4)]
    assert [taken(take()) for _ in low] == low
    for run_id in low:
        claims.mark_running(engine, run_id, 1, now=T0 + 101)
    large = ask(4, gpus=2)
    willing = settings.model_copy(update={"preempt_after_s": 1})
    leaving = make_way(engine, willing, now=T0 + 110)
    assert len(leaving) == 2
    assert make_way(engine, willing, now=T0 + 110) == []  # they are on their way
    for run_id in leaving:
        assert take() is None
        claims.release(engine, run_id, 1, "made way", now=T0 + 111)
    assert taken(take()) == large


def test_what_can_never_start_keeps_nothing(ask, worker):
    worker("w1", 2)
    ask(1, gpus=4)
    ask(2, gpus=2, mib=101)
    ask(3, gpus=2, pool="a100")
    small = ask(4)
    take = worker("w1", 2)
    assert taken(take()) == small


def test_the_queue_says_what_it_waits_for(engine, settings, ask, worker):
    take = worker("w1", 2)
    ask(1)
    take()
    large, vast, heavy = ask(2, gpus=2), ask(3, gpus=4), ask(4, gpus=2, mib=200)
    waiting = {run.run_id: run for run in queue.look(engine, settings, now=T0 + 100).waiting}
    assert waiting[large].reason == "needs 2 GPUs at once, worker w1 has 1 free"
    assert waiting[vast].reason == "asks for 4 GPUs of one worker; the most that one has is 2"
    assert waiting[heavy].reason == "asks for 200 MiB on each of 2 GPUs, which no worker has"
    assert (waiting[large].position, waiting[vast].position, waiting[heavy].position) == (1, None, None)


def test_a_worker_that_names_no_devices_takes_single_runs_alone(engine, settings, ask):
    ask(1, gpus=2)
    small = ask(2)
    claim = claims.claim_run(engine, "w1", 1e9, settings=settings, now=T0 + 100)
    assert (claim.run_id, claim.devices, claim.memory_bytes) == (small, (), 0)


@pytest.mark.parametrize(
    ("data", "field", "message"),
    [
        ({"kind": "train", "training": {"batch_size": 63}}, "training.batch_size", "such as 64"),
        ({"kind": "eval", "checkpoint": "r_x"}, "gpus", "only training"),
    ],
)
def test_what_several_devices_can_not_share_is_refused(engine, owner, data, field, message):
    with pytest.raises(Refused) as refused:
        create_run(engine, parse_run(data), owner, request=Request(gpus=2))
    (problem,) = refused.value.problems
    assert problem.field == field
    assert message in problem.message


def test_the_guess_is_of_a_share_of_the_batch(engine, owner):
    one, two = (
        create_run(engine, parse_run({"kind": "train"}), owner, request=Request(gpus=gpus))[0].id for gpus in (1, 2)
    )
    with read(engine) as connection:
        memory = dict(connection.execute(sa.select(runs.c.id, runs.c.memory)).all())
    assert memory[one] / 2 < memory[two] < memory[one]
