"""A number that isn't finite ends a run with a clear word, and never gets into a checkpoint."""

from collections.abc import Callable
from itertools import product
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
import torch

from laser_core.__main__ import main
from laser_core.checkpoint import latest
from laser_core.config import TrainConfig
from laser_core.events import Metrics, Snapshot
from laser_core.finite import FirstBad, check_weights, checked
from laser_core.train import Trainer, train

Make = Callable[..., TrainConfig]
CPU = torch.device("cpu")


def test_the_first_bad_loss_is_the_one_named() -> None:
    watch = FirstBad(CPU)
    for step, loss in enumerate((1.0, 2.0, inf, 3.0, nan), start=1):
        watch.note(step, torch.tensor(loss, dtype=torch.float64))
        if step < 3:
            watch.check()
    with pytest.raises(FloatingPointError, match="the loss became inf at step 3; try a lower learning rate"):
        watch.check()


def test_bad_numbers_and_weights_are_named() -> None:
    assert checked("norm", 1.5, 4) == 1.5
    with pytest.raises(FloatingPointError, match="norm became nan at step 4"):
        checked("norm", nan, 4)
    good = {"a": torch.ones(2), "counts": torch.ones(2, dtype=torch.int64)}
    check_weights(good, 4)
    with pytest.raises(FloatingPointError, match=r"after step 4 \(b, c\)"):
        check_weights(good | {"b": torch.tensor([1.0, inf]), "c": torch.tensor(nan)}, 4)


def poisoned(monkeypatch: pytest.MonkeyPatch, where: str, at: int, value: float) -> None:
    """Puts ``value`` into a weight or the carried activations, before step ``at`` is taken."""
    plain = Trainer.train_step

    def train_step(self: Trainer) -> Any:
        if self.step == at - 1:
            target = self.carry.latent_BLD if where == "activation" else self.model.get_parameter(where)
            with torch.no_grad():
                target.flatten()[0] = value
        return plain(self)

    monkeypatch.setattr(Trainer, "train_step", train_step)


@pytest.mark.parametrize(
    ("store", "where", "value"),
    [
        *product(["none"], ["activation", "layers.0.mlp.inner.weight", "lm_head.weight"], [nan, inf]),
        *product(
            ["checkpoint", "laser", "laser-fused", "laser-coded", "quant", "asi", "random"], ["activation"], [nan]
        ),
        ("laser-coded", "activation", inf),
    ],
)
def test_a_poisoned_run_stops_naming_the_step(
    tiny: Make, monkeypatch: pytest.MonkeyPatch, store: str, where: str, value: float
) -> None:
    poisoned(monkeypatch, where, 7, value)
    extra = {"rank": 4} if store in ("asi", "random") else {}
    events = train(tiny(store={"kind": store, **extra}, training={"supervision_steps": 16, "halt_exploration": 1.0}))
    seen = []

    def follow() -> None:
        for event in events:
            if isinstance(event, Snapshot):
                seen.append(event.step)
            if isinstance(event, Metrics):
                assert event.step < 7

    with pytest.raises(FloatingPointError, match=r"became (nan|inf) at step 7"):
        follow()
    assert seen == [5]


def test_the_command_fails_and_leaves_the_last_good_checkpoint(
    run_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "out"
    with monkeypatch.context() as patch:
        poisoned(patch, "lm_head.weight", 8, nan)
        assert main([str(run_file), "--directory", str(directory)]) == 1
    assert "error: the loss became nan at step 8; try a lower learning rate" in capsys.readouterr().err
    assert not (directory / "result.json").exists()
    good = latest(directory / "checkpoints")
    assert good is not None
    assert good.step == 5
    assert all(x.isfinite().all() for x in good.model.values())
    assert main([str(run_file), "--directory", str(directory), "--resume"]) == 0
