"""The store ``auto``: what it takes fits, nothing faster would have, and the reason says so."""

import json

import pytest
import torch

from laser_core import calibrate
from laser_core import train as train_module
from laser_core.checkpoint import Checkpoint
from laser_core.config import AutoStore, ConfigError, LaserCodedStore
from laser_core.events import Log, Metrics, Result, Snapshot
from laser_core.stores import make_store
from laser_core.stores.tracked import LEAST_LOST
from laser_core.tasks import prepare
from laser_core.train import train


@pytest.fixture(scope="module")
def task_of():
    def make(config):
        preparing = prepare(config.task, {})
        while True:
            try:
                next(preparing)
            except StopIteration as done:
                return done.value

    return make


CPU = torch.device("cpu")


def test_the_fastest_that_fits_is_taken(tiny, task_of, monkeypatch):
    config = tiny(store={"kind": "auto", "memory_budget": 1000})
    task = task_of(config)
    stores = calibrate.CANDIDATES + calibrate.IN_BFLOAT16
    costs = [
        calibrate.Measured(s, int(b * calibrate.MIB), t)
        for s, b, t in zip(stores, (90, 9, 8, 5, 2, 8.9, 1.9), (1, 1.1, 1.3, 1.2, 1.4, 1.15, 1.35), strict=True)
    ]
    monkeypatch.setattr(calibrate, "_measure", lambda *_: costs)
    for budget, index in ((90, 0), (89.9, 1), (8.9, 5), (8.5, 3), (4, 6)):
        store, reason = calibrate.choose(config, budget, task, CPU)
        assert store is stores[index], budget
        assert f"of {budget:g} MiB" in reason
    with pytest.raises(
        ConfigError, match=r"store.memory_budget: 1 MiB .* the least is 1.90 MiB by laser-coded per call \(backward in"
    ):
        calibrate.choose(config, 1, task, CPU)


def test_measured_bytes_are_in_the_order_that_stores_promise(tiny, task_of):
    config = tiny(store={"kind": "auto", "memory_budget": 1000}, training={"batch_size": 32}, model={"layers": 3})
    assert isinstance(config.store, AutoStore)
    costs = {
        cost.name: cost.saved_bytes for cost in calibrate._measure(config, task_of(config), *_batch(config, task_of))
    }
    assert costs["none"] > costs["checkpoint per block"] > costs["checkpoint per call"] > 0
    assert costs["none"] > costs["laser-coded per sublayer"] > costs["laser-coded per call"] > 0


def _batch(config, task_of):
    return task_of(config).sample(32, torch.Generator().manual_seed(0), CPU), CPU


def test_a_run_settles_its_store_once_and_says_why(tiny, monkeypatch):
    """A resumed run keeps the store that it began with, whatever the clock would say now."""
    config = tiny(store={"kind": "auto", "memory_budget": 0.25}, model={"layers": 2})
    events, halfway = [], None
    for event in train(config):
        events.append(event)
        if isinstance(event, Snapshot) and halfway is None:
            halfway = copied(event)
    (result,) = (event for event in events if isinstance(event, Result))
    assert result.notes["store"].startswith("store ")
    assert "of 0.25 MiB" in result.notes["store"]
    assert any(isinstance(event, Log) and event.message == result.notes["store"] for event in events)
    assert result.values["saved_bytes"] <= 1.2 * 0.25 * (1 << 20)

    monkeypatch.setattr(train_module, "choose", lambda *_: pytest.fail("chosen again"))
    (again,) = (event for event in train(config, halfway) if isinstance(event, Result))
    assert again.weights_sha256 == result.weights_sha256


def copied(snapshot):
    """As from disk: a snapshot's tensors are the live ones."""
    model, training = (
        {name: x.clone() for name, x in tensors.items()} for tensors in (snapshot.model, snapshot.training)
    )
    return Checkpoint(snapshot.step, model, training, json.loads(json.dumps(snapshot.state)))


def test_codes_get_finer_where_the_gradient_asks_for_it(tiny):
    store = {"kind": "laser-coded", "energy": 0.9, "gradient_cosine": 0.9999, "look_every": 3}
    events = list(train(tiny(store=store)))
    looks = [event for event in events if isinstance(event, Metrics) and "gradient.cosine" in event.values]
    assert [look.step for look in looks] == [3, 6, 9, 12]
    assert looks[-1].values["gradient.cosine"] > looks[0].values["gradient.cosine"]
    plain = list(train(tiny(store=store | {"gradient_cosine": 0.0})))
    assert not any("gradient.cosine" in event.values for event in plain if isinstance(event, Metrics))


def test_what_a_look_changes_and_what_it_leaves():
    tracked = make_store(LaserCodedStore(energy=0.99))
    assert tracked.heed(0.9, wanted=0.99)
    assert tracked.loss == 0.5
    assert not tracked.heed(0.992, wanted=0.99)  # good enough, and not far above
    assert tracked.heed(0.999, wanted=0.99)
    assert tracked.loss == 0.75
    tracked.heed(0.9999, wanted=0.99)
    assert tracked.loss == 1.0  # never more than the policy allows
    assert not tracked.heed(0.9999, wanted=0.99)


def test_a_cosine_that_nothing_mends_stops_to_cost_bytes():
    tracked = make_store(LaserCodedStore(energy=0.99))
    changes = [tracked.heed(0.9, wanted=0.9999) for _ in range(20)]
    assert changes == [True] * 14 + [False] * 6
    assert tracked.loss * (1 - 0.99) == pytest.approx(LEAST_LOST)
    tracked.loss = 1e-9  # of an older checkpoint
    assert not tracked.heed(0.9, wanted=0.9999)


@pytest.mark.parametrize(("precision", "count"), [("float32", 7), ("bfloat16", 5)])
def test_backward_in_bfloat16_is_tried_unless_forward_is_in_it_as_well(tiny, precision, count):
    config = tiny(store={"kind": "auto", "memory_budget": 1}, training={"precision": precision})
    assert len(set(calibrate.candidates(config, CPU))) == count
