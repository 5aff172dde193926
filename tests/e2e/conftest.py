"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.platform import Platform, start_platform, stop_platform


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One platform for a module's tests."""
    started = start_platform(tmp_path_factory.mktemp("lab"))
    yield started
    stop_platform(started)


@pytest.fixture
def tiny() -> Callable[..., dict[str, Any]]:
    """Makes small training configurations: seconds on one core, with enough steps to be interrupted."""

    def make(name: str = "", **changes: Any) -> dict[str, Any]:
        training = {"steps": 60, "batch_size": 8, "warmup_steps": 5, "log_every": 1, "checkpoint_every": 10}
        return {
            "kind": "train",
            "name": name,
            "task": {"kind": "sudoku", "size": 4, "train_puzzles": 40, "test_puzzles": 20},
            "model": {"width": 16, "heads": 2, "latent_steps": 2, "cycles": 2},
            "training": {**training, **changes.pop("training", {})},
            **changes,
        }

    return make
