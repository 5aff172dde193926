"""Runs small enough to train in a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from laser_core.config import TrainConfig, parse_run


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
