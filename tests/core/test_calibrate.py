"""The store ``auto``: what it takes fits, nothing faster would have, and the reason says so."""

import pytest
import torch

from laser_core import calibrate
from laser_core.config import AutoStore, ConfigError
from laser_core.tasks import prepare


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
    stores = calibrate.CANDIDATES
    costs = [
        calibrate.Measured(s, b << 20, t)
        for s, b, t in zip(stores, (90, 9, 8, 5, 2), (1, 1.1, 1.3, 1.2, 1.4), strict=True)
    ]
    monkeypatch.setattr(calibrate, "_measure", lambda *_: costs)
    for budget, index in ((90, 0), (89.9, 1), (8.5, 3), (4, 4)):
        store, reason = calibrate.choose(config, budget, task, CPU)
        assert store is stores[index], budget
        assert f"of {budget:g} MiB" in reason
    with pytest.raises(
        ConfigError, match=r"store.memory_budget: 1 MiB .* the least is 2.00 MiB by laser-coded per call"
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
