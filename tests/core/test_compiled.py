"""Compiled training: the plain numbers to rounding, refused by name where it can't be."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from laser_core import compiled
from laser_core.config import ConfigError, TrainConfig
from laser_core.events import Memory, Metrics
from laser_core.train import train

Make = Callable[..., TrainConfig]
CPU = torch.device("cpu")


def test_on_is_refused_with_a_store_that_is_not_none(tiny: Make) -> None:
    with pytest.raises(ConfigError, match=r"training.compile: can't compile store laser: only none"):
        tiny(training={"compile": "on"}, store={"kind": "laser"})
    assert not compiled.wants_compile(tiny(training={"compile": "auto"}, store={"kind": "laser"}), CPU)
    assert not compiled.wants_compile(tiny(), CPU)


def test_without_a_compiler_on_is_refused_and_auto_goes_on(tiny: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled.shutil, "which", lambda _: None)
    assert not compiled.wants_compile(tiny(training={"compile": "auto"}), CPU)
    with pytest.raises(ConfigError, match=r"training.compile: needs a C\+\+ compiler.*install g\+\+"):
        next(train(tiny(training={"compile": "on"})))


def test_without_pythons_headers_or_triton_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled.shutil, "which", lambda name: name)
    monkeypatch.setattr(compiled.sysconfig, "get_path", lambda _: "/nowhere")
    assert "there is no /nowhere/Python.h" in compiled.missing_compiler(CPU)
    monkeypatch.setattr(compiled.importlib.util, "find_spec", lambda _: None)
    assert "triton" in compiled.missing_compiler(torch.device("cuda"))


@pytest.mark.slow
@pytest.mark.skipif(bool(compiled.missing_compiler(CPU)), reason="needs a C++ compiler")
def test_compiled_training_agrees_with_plain_training(tiny: Make) -> None:
    told: dict[str, list[Any]] = {}
    for mode in ("off", "on"):
        config = tiny(
            model={"block": "mlp", "latent_steps": 1, "width": 8, "heads": 1},
            training={"compile": mode, "steps": 6, "log_every": 1},
        )
        told[mode] = list(train(config))
    losses = {
        mode: [e.values["train.loss"] for e in events if isinstance(e, Metrics) and "train.loss" in e.values]
        for mode, events in told.items()
    }
    assert losses["on"] == pytest.approx(losses["off"], rel=1e-5)
    plain, held = (next(e for e in told[mode] if isinstance(e, Memory)) for mode in ("off", "on"))
    assert 0 < held.saved_bytes < held.eager_bytes == plain.eager_bytes
    assert sum(site.saved_bytes for site in held.sites) == held.saved_bytes
    assert {(site.site, site.kind) for site in held.sites} >= {("layers", "compiled"), ("loss", "loss")}
    assert all(site.saved_bytes > 0 for site in held.sites)
