"""Gradient fidelity: exact stores are exact, lossy ones aren't, and looking changes nothing."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from laser_core.config import CheckpointStore, LaserFusedStore, LaserStore, NoneStore, TrainConfig
from laser_core.events import Log
from laser_core.fidelity import gradient_fidelity
from laser_core.stores import make_store
from laser_core.train import Trainer, train


def test_equal_stores_give_one_and_zero(trial: Callable[..., Any]) -> None:
    plain = trial()
    cosine, error = gradient_fidelity(plain.model, plain.loss, plain.model.store, make_store(NoneStore()))
    assert (cosine, error) == (pytest.approx(1.0, abs=1e-12), 0.0)
    assert gradient_fidelity(plain.model, plain.loss, make_store(CheckpointStore()), plain.model.store)[1] == 0.0


@pytest.mark.parametrize("store", [LaserStore(rank=4, adapt=False), LaserFusedStore(rank=4, adapt=False)])
def test_low_rank_is_between_and_the_look_changes_nothing(trial: Callable[..., Any], store: Any) -> None:
    lossy = trial(store)
    for _ in range(2):
        lossy.step(0.01)
    before = {name: x.clone() if torch.is_tensor(x) else x for name, x in lossy.model.store.state_dict().items()}
    gradients, draws = lossy.gradients(), torch.get_rng_state()
    cosine, error = gradient_fidelity(lossy.model, lossy.loss, lossy.model.store, make_store(NoneStore()))
    assert 0.1 < cosine < 0.9999
    assert 0.01 < error < 1.5
    assert error >= (1 - cosine**2) ** 0.5 - 1e-6  # no scaling of a vector at this angle comes nearer
    assert torch.equal(draws, torch.get_rng_state())
    after = lossy.model.store.state_dict()
    assert before.keys() == after.keys()
    for name, x in before.items():
        assert torch.equal(x, after[name]) if torch.is_tensor(x) else x == after[name]
    for name, x in lossy.gradients().items():
        assert torch.equal(x, gradients[name])


def test_zero_gradients(trial: Callable[..., Any]) -> None:
    plain = trial()

    def nothing() -> torch.Tensor:
        return 0.0 * plain.loss()

    assert gradient_fidelity(plain.model, nothing, plain.model.store, make_store(NoneStore())) == (1.0, 0.0)


@pytest.mark.parametrize("kind", ["none", "laser", "laser-fused", "laser-coded"])
def test_a_run_that_is_looked_at_goes_on_as_if_it_were_not(
    tiny: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    config = tiny(store={"kind": kind})
    undisturbed = list(train(config))[-1]
    plain, seen = Trainer.train_step, []

    def train_step(self: Trainer) -> Any:
        traces = plain(self)
        seen.append(self.gradient_fidelity())
        return traces

    monkeypatch.setattr(Trainer, "train_step", train_step)
    assert list(train(config))[-1].weights_sha256 == undisturbed.weights_sha256  # type: ignore[union-attr]
    assert len(seen) == 12
    if kind == "none":
        assert all(error == 0 for _, error in seen)


def test_a_cosine_that_the_store_cannot_reach_is_told(
    tiny: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("laser_core.train.gradient_fidelity", lambda *_: (0.5, 0.9))
    store = {"kind": "laser-coded", "energy": 0.99999, "gradient_cosine": 0.99, "look_every": 2}
    told = [event for event in train(tiny(store=store)) if isinstance(event, Log) and event.level == "warning"]
    assert [log.message.partition("at step ")[2][:3] for log in told] == ["10,", "12,"]  # after .5, .25, .125 and .1
    assert "store.gradient_cosine wants 0.99" in told[0].message
