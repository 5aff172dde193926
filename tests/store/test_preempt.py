"""The low band makes way for higher ones, after its minimum of time, and only where that helps."""

from __future__ import annotations

import time

import pytest

from laser_core.config import parse_run
from store import claims, workers
from store.devices import Device
from store.preempt import make_way
from store.requests import Request
from store.runs import get_run
from store.settings import MIB
from store.states import State
from store.submit import create_run

T0 = time.time()


@pytest.fixture
def lab(engine, settings, owner):
    class Lab:
        settings_on = settings.model_copy(update={"preempt_after_s": 60})

        def ask(self, seed, band, pool=""):
            config = parse_run({"kind": "train", "seed": seed})
            return create_run(engine, config, owner, request=Request(band, pool), now=T0)[0].id

        def take(self, now=T0):
            claim = claims.claim_run(engine, "w1", 1e9, settings=settings, now=now)
            claims.mark_running(engine, claim.run_id, claim.epoch, now=now)
            return claim.run_id

        def make_way(self, now, **changes):
            for worker in workers.list_workers(engine):
                workers.beat(engine, worker.id, now=now)
            return make_way(engine, self.settings_on.model_copy(update=changes), now=now)

    workers.register(engine, "w1", "here", 7, 2, "cpu", "1", now=T0)
    return Lab()


def test_the_low_band_makes_way_once_it_had_its_time(engine, lab):
    first, second = lab.ask(1, "low"), lab.ask(2, "low")
    assert [lab.take(), lab.take(T0 + 10)] == [first, second]
    waiting = lab.ask(3, "normal")
    assert lab.make_way(T0 + 59) == []
    assert lab.make_way(T0 + 99, preempt_after_s=0) == []
    assert lab.make_way(T0 + 99) == [second]  # the newest
    assert not claims.heartbeat(engine, first, 1, 1e9, now=T0 + 99).preempt
    assert claims.heartbeat(engine, second, 1, 1e9, now=T0 + 99).preempt
    assert lab.make_way(T0 + 100) == []  # it is on its way
    claims.release(engine, second, 1, "made way", now=T0 + 100)
    assert lab.take(T0 + 101) == waiting
    assert lab.make_way(T0 + 102) == []
    claims.mark_running(engine, waiting, 1)
    claims.finish(engine, waiting, 1, State.succeeded, now=T0 + 103)
    assert lab.take(T0 + 104) == second
    assert not claims.heartbeat(engine, second, 2, 1e9, now=T0 + 104).preempt
    assert get_run(engine, second).state == State.running


@pytest.mark.parametrize(
    "case", ["a slot is free", "one is free elsewhere", "nobody waits", "only low waits", "another pool", "no low runs"]
)
def test_nobody_makes_way_in_vain(engine, lab, case):
    band = "normal" if case == "no low runs" else "low"
    for seed in range(1 if case == "a slot is free" else 2):
        lab.ask(seed, band)
        lab.take()
    if case != "nobody waits":
        lab.ask(9, "low" if case == "only low waits" else "high", "elsewhere" if case == "another pool" else "")
    if case == "one is free elsewhere":
        workers.register(engine, "w2", "there", 8, 1, "cpu", "1", now=T0)
    assert lab.make_way(T0 + 99) == []


@pytest.fixture
def shared(engine, settings, owner):
    """A worker with seats to spare on a device of 100 MiB."""

    class Shared:
        device = Device("w1/cpu0", "cpu", 100 * MIB)

        def ask(self, seed, band, mib):
            config = parse_run({"kind": "train", "seed": seed})
            return create_run(engine, config, owner, request=Request(band, memory_bytes=mib * MIB), now=T0)[0].id

        def take(self, now):
            claim = claims.claim_run(engine, "w1", 1e9, settings=settings, devices=[self.device], now=now)
            if claim is not None:
                claims.mark_running(engine, claim.run_id, claim.epoch, now=now)
            return claim and claim.run_id

    workers.register(engine, "w1", "here", 7, 8, "cpu", "1", devices=[Shared.device], now=T0)
    return Shared()


@pytest.mark.parametrize("memory", [30, 70, 101])
def test_as_many_make_way_as_free_the_memory_that_is_asked_for(lab, shared, memory):
    """Two low runs hold 40 MiB each; a third is too new to be asked."""
    first, second, newest = (shared.ask(seed, "low", mib) for seed, mib in enumerate((40, 40, 15)))
    assert [shared.take(T0), shared.take(T0 + 10), shared.take(T0 + 90)] == [first, second, newest]
    shared.ask(9, "normal", memory)
    wanted = {30: [second], 70: [second, first], 101: []}[memory]  # nothing frees what isn't there
    assert lab.make_way(T0 + 99) == wanted
    assert lab.make_way(T0 + 100) == []  # they are on their way


def test_what_the_first_leaves_is_kept_until_the_last_has_left(engine, lab, shared):
    low = [shared.ask(seed, "low", 45) for seed in range(2)]
    assert [shared.take(T0), shared.take(T0 + 1)] == low
    waiting, small = shared.ask(8, "normal", 80), shared.ask(9, "normal", 20)
    assert sorted(lab.make_way(T0 + 99)) == sorted(low)
    claims.release(engine, low[1], 1, "made way", now=T0 + 100)
    assert shared.take(T0 + 101) == small  # of a higher band, it needn't wait
    assert shared.take(T0 + 102) is None  # and not the low run, which would fit
    claims.release(engine, low[0], 1, "made way", now=T0 + 103)
    assert shared.take(T0 + 104) == waiting
