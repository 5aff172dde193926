"""Configurations to start from; every one is whole, so that what runs is what is read here."""

from __future__ import annotations

from typing import Any

from api.models import Preset
from laser_core.config import parse_run, to_json


def _preset(name: str, title: str, description: str, config: dict[str, Any]) -> Preset:
    return Preset(name=name, title=title, description=description, config=to_json(parse_run(config)))


_SMALL = {"block": "mlp", "width": 32, "heads": 2, "layers": 1, "latent_steps": 3, "cycles": 2, "positions": "none"}
_SMALL_TRAINING = {
    "steps": 400,
    "batch_size": 32,
    "learning_rate": 5e-3,
    "warmup_steps": 50,
    "ema": 0.97,  # a short run: .999 would still remember the beginning at its end
    "supervision_steps": 4,
    "evaluate_every": 100,
    "checkpoint_every": 100,
}
_4X4: dict[str, Any] = {
    "kind": "train",
    "task": {"kind": "sudoku", "size": 4},
    "model": _SMALL,
    "training": _SMALL_TRAINING,
}

PRESETS = (
    _preset(
        "sudoku-4x4-none",
        "Sudoku 4×4, baseline",
        "A minute on a CPU core. Keeps every activation: the baseline that a LASER run is paired with by its seed.",
        _4X4 | {"tags": ["4x4"], "store": {"kind": "none"}},
    ),
    _preset(
        "sudoku-4x4-laser-fused",
        "Sudoku 4×4, LASER fused",
        "The baseline's twin: keeps three low-rank tensors per block and computes the rest again.",
        _4X4 | {"tags": ["4x4"], "store": {"kind": "laser-fused"}},
    ),
    _preset(
        "sudoku-6x6",
        "Sudoku 6×6, LASER",
        "An hour or so on a CPU, with the paper's store: inputs of linear layers in a tracked basis.",
        {
            "kind": "train",
            "tags": ["6x6"],
            "task": {"kind": "sudoku", "size": 6, "train_puzzles": 2000},
            "model": {"width": 128, "heads": 4, "positions": "rope"},
            "store": {"kind": "laser", "energy": 0.99},
            "training": {"steps": 4000, "batch_size": 64, "learning_rate": 1e-3, "warmup_steps": 200},
        },
    ),
    _preset(
        "sudoku-9x9",
        "Sudoku 9×9, LASER fused",
        "For a GPU: the full-size puzzle with the MLP mixer, which suits its fixed grid.",
        {
            "kind": "train",
            "tags": ["9x9"],
            "task": {"kind": "sudoku", "size": 9, "train_puzzles": 10_000},
            "model": {"block": "mlp", "width": 512, "heads": 8, "positions": "none"},
            "store": {"kind": "laser-fused"},
            "training": {
                "steps": 50_000,
                "batch_size": 256,
                "learning_rate": 1e-4,
                "warmup_steps": 2000,
                "weight_decay": 1.0,
                "evaluate_every": 5000,
                "checkpoint_every": 1000,
            },
        },
    ),
    _preset(
        "csv",
        "Puzzles of your own (CSV)",
        "Upload files with the columns source, q, a, rating under Datasets, then name them here.",
        {
            "kind": "train",
            "tags": ["csv"],
            "task": {"kind": "csv", "train": "train.csv", "test": "test.csv"},
            "model": {"width": 128, "heads": 4},
            "store": {"kind": "laser-fused"},
            "training": {"steps": 2000, "batch_size": 64, "learning_rate": 1e-3, "warmup_steps": 100},
        },
    ),
)
