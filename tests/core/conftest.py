"""Runs small enough to train in a second, and a small model with a batch to try activation stores on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from laser_core.config import ModelConfig, NoneStore, Store, TrainConfig, parse_run
from laser_core.events import Trace
from laser_core.loss import act_loss
from laser_core.model import TRM, Batch, Outputs
from laser_core.stores import make_store


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One torch thread: small tensors gain nothing from two, and tests run beside each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny() -> Callable[..., TrainConfig]:
    """Makes the smallest useful training run; keywords change its sections."""

    def make(**sections: Any) -> TrainConfig:
        data: dict[str, Any] = {
            "kind": "train",
            "task": {"kind": "sudoku", "train_puzzles": 20, "test_puzzles": 12} | sections.pop("task", {}),
            "model": {"width": 16, "heads": 2, "layers": 1, "latent_steps": 2, "cycles": 2} | sections.pop("model", {}),
            "training": {
                "steps": 12,
                "batch_size": 8,
                "warmup_steps": 4,
                "supervision_steps": 3,
                "log_every": 3,
                "checkpoint_every": 5,
            }
            | sections.pop("training", {}),
            "device": "cpu",
        }
        config = parse_run(data | sections)
        assert isinstance(config, TrainConfig)
        return config

    return make


@pytest.fixture
def run_file(tmp_path: Path, tiny: Callable[..., TrainConfig]) -> Path:
    """The tiny run as a file."""
    import json

    from laser_core.config import to_json

    path = tmp_path / "run.json"
    path.write_text(json.dumps(to_json(tiny())))
    return path


@dataclass
class Trial:
    """A model, a batch, and plain SGD steps on it."""

    model: TRM
    batch: Batch
    steps: int = 0

    def forward(self) -> tuple[Outputs, Tensor]:
        carry = self.model.initial_carry(len(self.batch.inputs_BS))
        carry, outputs = self.model.supervision_step(carry, self.batch)
        return outputs, act_loss(outputs, carry.data.labels_BS).total

    def loss(self) -> Tensor:
        return self.forward()[1]

    def step(self, learning_rate: float = 0.0) -> list[Trace]:
        """One training step; gradients stay on the parameters."""
        self.steps += 1
        self.model.zero_grad()
        self.model.store.begin_step(self.steps)
        self.loss().backward()
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter -= learning_rate * parameter.grad
        return self.model.store.end_step()

    def gradients(self) -> dict[str, Tensor]:
        return {name: parameter.grad.clone() for name, parameter in self.model.named_parameters()}


@pytest.fixture
def trial() -> Callable[..., Trial]:
    """``trial(store, batch_size=…, seq_len=…, **model)``: weights and batch are equal at equal shapes."""

    def make(store: Store | None = None, batch_size: int = 3, seq_len: int = 9, **model: Any) -> Trial:
        config = ModelConfig(**{"width": 32, "heads": 2, "latent_steps": 2, "cycles": 2, "expansion": 1.0} | model)
        generator = torch.Generator().manual_seed(5)
        trm = TRM(config, 7, seq_len, 4, store=make_store(store or NoneStore()), generator=generator)
        torch.nn.init.normal_(trm.halt_head.weight, generator=generator)  # else zero gradients hide behind its zeros
        inputs, labels = (torch.randint(0, 7, (batch_size, seq_len), generator=generator) for _ in range(2))
        labels[0, 0] = -100
        return Trial(trm, Batch(inputs, labels, torch.arange(batch_size) % 4))

    return make
