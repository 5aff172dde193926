"""Runs share a device by memory: who fits starts, who doesn't is passed over, and what was measured counts."""

from __future__ import annotations

import time

import pytest

from laser_core.config import parse_run
from laser_core.estimate import start_bytes
from laser_core.events import CheckpointSaved, Peak
from store import claims, queue, workers
from store.devices import Device
from store.ingest import ingest
from store.requests import Request
from store.runs import get_run
from store.states import State
from store.submit import create_run

T0 = time.time()
MIB = 2**20
CPU = Device("w1/cpu0", "cpu", 100 * MIB)


@pytest.fixture
def ask(engine, owner):
    """``ask(1, 40)``: a run of seed 1 that asks for 40 MiB; without, what is guessed."""

    def ask(seed, mib=None, **changes):
        config = parse_run({"kind": "train", "seed": seed, **changes})
        memory_bytes = None if mib is None else mib * MIB
        return create_run(engine, config, owner, request=Request(memory_bytes=memory_bytes), now=T0 + seed)[0].id

    return ask


@pytest.fixture
def take(engine, settings):
    def take(*devices):
        return claims.claim_run(engine, "w1", 1e9, settings=settings, devices=devices or (CPU,), now=T0 + 100)

    return take


def test_runs_share_a_device_and_what_does_not_fit_is_passed_over(engine, ask, take):
    first, large, second, third = ask(1, 40), ask(2, 80), ask(3, 50), ask(4, 20)
    assert [take().run_id, take().run_id, take()] == [first, second, None]
    claims.mark_running(engine, second, 1)
    claims.finish(engine, second, 1, State.succeeded)
    assert [take().run_id, take()] == [third, None]
    for run_id in (first, third):
        claims.mark_running(engine, run_id, 1)
        claims.finish(engine, run_id, 1, State.succeeded)
    assert take().run_id == large


def test_each_run_goes_where_most_is_free(ask, take):
    devices = (CPU, Device("w1/cpu1", "cpu", 60 * MIB))
    for seed in range(4):
        ask(seed, 30)
    taken = [take(*devices) for _ in range(4)]
    assert [claim.devices[0].uid for claim in taken] == ["w1/cpu0", "w1/cpu0", "w1/cpu1", "w1/cpu0"]
    assert {claim.memory_bytes for claim in taken} == {30 * MIB}


def test_without_account_any_number_fits_and_goes_round(ask, take):
    devices = [Device(f"gpu{i}", "GPU", visible=str(i)) for i in range(2)]
    for seed in range(4):
        ask(seed, 10**6)
    taken = [take(*devices) for _ in range(4)]
    assert [claim.devices[0].visible for claim in taken] == ["0", "1", "0", "1"]
    assert {claim.memory_bytes for claim in taken} == {0}


def test_without_an_ask_the_configuration_lets_guess(engine, ask):
    run = get_run(engine, ask(1))
    assert (run.memory_asked, run.memory) == (None, start_bytes(parse_run(run.config)))
    assert run.memory > MIB
    assert get_run(engine, ask(2, 7)).memory_asked == 7 * MIB


def test_a_guess_beyond_a_device_gets_it_alone_and_an_ask_waits_for_a_larger_one(engine, settings, ask, take):
    guessed, asked = ask(1, training={"batch_size": 4096}), ask(2, 101)
    claim = take()
    assert (claim.run_id, claim.memory_bytes) == (guessed, CPU.memory_bytes)
    assert take() is None
    claims.mark_running(engine, guessed, 1)
    claims.finish(engine, guessed, 1, State.succeeded)
    assert take() is None
    workers.register(engine, "w1", "here", 7, 4, "cpu", "1", devices=(CPU,))
    (waiting,) = queue.look(engine, settings).waiting
    assert (waiting.run_id, waiting.position) == (asked, None)
    assert waiting.reason == "asks for 101 MiB; the largest device that it may use has 100"
    large = Device("w2/cpu0", "cpu", 200 * MIB)
    workers.register(engine, "w2", "there", 7, 4, "cpu", "1", devices=(large,), unable="9 MiB free")
    (waiting,) = queue.look(engine, settings).waiting
    assert waiting.reason.endswith("has 100 (not counted: w2 has 9 MiB free)")


def test_the_measured_peak_frees_what_is_not_needed(engine, settings, ask, take):
    first, second = ask(1, 80), ask(2, 80)
    assert [take().run_id, take()] == [first, None]
    workers.register(engine, "w1", "here", 7, 4, "cpu", "1", devices=(CPU,))
    (waiting,) = queue.look(engine, settings).waiting
    assert waiting.reason == "waits for 80 MiB on a device"
    ingest(engine, first, 1, 0, 10, [Peak(5, 10 * MIB)])
    assert take().run_id == second
    (device,) = workers.list_workers(engine)[0].devices
    assert (device.memory_bytes, device.reserved_bytes, device.used_bytes) == (100 * MIB, 91 * MIB, 10 * MIB)
    assert device.runs == 2


def test_a_run_that_goes_on_asks_for_what_it_was_measured_to_hold(engine, ask, take):
    first = ask(1, 80)
    take()
    saved = CheckpointSaved(5, "step-00000005", {"model.safetensors": "0" * 64}, 10)
    ingest(engine, first, 1, 0, 10, [Peak(5, 10 * MIB)])
    claims.release(engine, first, 1, "drained")
    assert get_run(engine, take().run_id).memory_held == 80 * MIB  # it starts anew: there is no checkpoint
    ingest(engine, first, 2, 0, 10, [Peak(5, 10 * MIB), saved])
    claims.release(engine, first, 2, "drained")
    assert get_run(engine, take().run_id).memory_held == 11 * MIB


def test_a_run_that_outgrows_its_ask_gets_more_once(engine, ask, take):
    run_id = ask(1, 2)
    assert take().memory_bytes == 2 * MIB
    claims.grow(engine, run_id, 1, "out of memory, at step 0")
    grown = get_run(engine, run_id)
    guess = start_bytes(parse_run(grown.config))
    assert (grown.state, grown.memory) == (State.queued, guess)
    assert grown.reason == f"out of memory, at step 0; back in the queue with {guess / MIB:.0f} MiB"
    assert take().memory_bytes == min(guess, CPU.memory_bytes)
    claims.mark_running(engine, run_id, 2)
    claims.grow(engine, run_id, 2, "out of memory, at step 3")
    ended = get_run(engine, run_id)
    assert (ended.state, ended.epoch) == (State.failed, 2)
    assert "isn't tried again" in ended.reason


@pytest.mark.parametrize(("store", "fit"), [("none", 1), ("laser-coded", 14)])
def test_many_more_coded_runs_fit_than_uncompressed_ones(ask, take, store, fit):
    shape = {"model": {"width": 16, "heads": 2, "latent_steps": 2, "cycles": 2}, "training": {"batch_size": 32}}
    for seed in range(24):
        ask(seed, **shape, store={"kind": store})
    slot = Device("w1/cpu0", "cpu", 20 * MIB)
    assert sum(1 for _ in iter(lambda: take(slot), None)) == fit


def test_on_a_gpu_a_guess_is_taken_with_room_to_spare_and_an_ask_is_not(engine, ask, take):
    gpu = Device("GPU-1", "GPU", 4 * 1024 * MIB, visible="GPU-1")
    guessed, asked, other = ask(1), ask(2, 700), ask(3)
    first = take(gpu)
    memory = get_run(engine, guessed).memory
    assert (first.run_id, first.memory_bytes) == (guessed, 2 * memory + 1024 * MIB)
    assert (take(gpu).memory_bytes, take(gpu).run_id) == (700 * MIB, other)
    ingest(engine, guessed, 1, 0, 10, [Peak(5, 600 * MIB)])
    assert get_run(engine, guessed).memory_held == int(1.1 * 600 * MIB)
    assert get_run(engine, asked).device == "GPU-1"


def test_devices_go_with_what_their_worker_says(engine):
    workers.register(engine, "w1", "here", 7, 1, "cpu", "1", devices=(CPU,))
    workers.beat(engine, "w1", (CPU, Device("gpu-1", "GPU", 5 * MIB, "0", 3 * MIB)))
    seen = workers.list_workers(engine)[0].devices
    assert [(device.uid, device.used_bytes) for device in seen] == [("gpu-1", 3 * MIB), ("w1/cpu0", 0)]
    workers.beat(engine, "w1")
    assert len(workers.list_workers(engine)[0].devices) == 2
