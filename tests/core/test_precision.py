"""bfloat16: training works with every weight moved, and is refused where the device has none."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from laser_core.config import ConfigError, TrainConfig
from laser_core.device import check_precision
from laser_core.events import Metrics, Snapshot
from laser_core.train import Trainer, train

Make = Callable[..., TrainConfig]


@pytest.mark.parametrize("store", ["none", "checkpoint"])
def test_the_loss_falls_in_bfloat16(tiny: Make, store: str) -> None:
    config = tiny(
        store={"kind": store},
        task={"train_puzzles": 8, "test_puzzles": 8, "augment": False, "max_blanks": 6},
        model={"block": "mlp"},
        training={
            "steps": 40, "batch_size": 8, "learning_rate": 5e-3, "log_every": 10, "checkpoint_every": 1000,
            "supervision_steps": 2, "weight_decay": 0.0, "precision": "bfloat16",
        },
    )  # fmt: skip
    events = list(train(config))
    losses = [e.values["train.lm_loss"] for e in events if isinstance(e, Metrics) and "train.lm_loss" in e.values]
    assert losses[-1] < 0.7 * losses[0]
    snapshot = next(event for event in events if isinstance(event, Snapshot))
    assert all(x.dtype == torch.float32 for name, x in snapshot.model.items() if name.startswith(("raw.", "ema.")))


def test_every_weight_gets_a_gradient_near_the_wide_one(tiny: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cycles without gradient come first: what autocast caches there must not cut weights off."""
    gradients: dict[str, dict[str, torch.Tensor]] = {}
    plain = Trainer._move_weights

    def caught(self: Trainer, rows: Any) -> None:
        found = {name: w.grad.clone() for name, w in self.model.named_parameters() if w.grad is not None}
        gradients.setdefault(self.config.training.precision, found)
        plain(self, rows)

    monkeypatch.setattr(Trainer, "_move_weights", caught)
    for precision in ("float32", "bfloat16"):
        list(train(tiny(training={"steps": 1, "precision": precision})))
    wide, narrow = gradients["float32"], gradients["bfloat16"]
    assert wide.keys() == narrow.keys()
    for name, gradient in wide.items():
        if gradient.any():
            assert torch.cosine_similarity(gradient.flatten(), narrow[name].flatten(), 0) > 0.9, name


STORES = [
    {"kind": "laser"},
    {"kind": "laser-fused"},
    {"kind": "laser-coded"},
    {"kind": "laser-coded", "keep": "call"},
    {"kind": "quant", "bits": 8},
    {"kind": "asi", "rank": 16},
    {"kind": "random", "rank": 16},
]


@pytest.mark.parametrize("block", ["attention", "mlp"])
@pytest.mark.parametrize("store", STORES, ids=lambda store: " ".join(map(str, store.values())))
def test_every_store_follows_the_wide_loss_in_bfloat16(tiny: Make, store: dict[str, Any], block: str) -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        config = tiny(
            store=store, model={"block": block}, training={"steps": 8, "log_every": 8, "precision": precision}
        )
        values = [event.values for event in train(config) if isinstance(event, Metrics)]
        losses[precision] = values[0]["train.lm_loss"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)


def test_a_gpu_without_bfloat16_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "An Old GPU")
    check_precision(torch.device("cuda"), "float32")
    check_precision(torch.device("cpu"), "bfloat16")
    with pytest.raises(ConfigError, match=r"training.precision: An Old GPU has no bfloat16; leave this at"):
        check_precision(torch.device("cuda"), "bfloat16")
    with pytest.raises(ConfigError, match=r"store.backward: An Old GPU has no bfloat16; leave this at"):
        check_precision(torch.device("cuda"), "bfloat16", "store.backward")


def test_an_unknown_precision_is_refused(tiny: Make) -> None:
    with pytest.raises(ConfigError, match=r"training.precision: expected one of float32, bfloat16, got 'float16'"):
        tiny(training={"precision": "float16"})
