"""What a run is: the body of ``POST /api/v1/runs`` and the file given to ``python -m laser_core`` alike.

``RunConfig`` is a union told apart by ``kind``. A new hyperparameter is one line here, its use and one test.
This module never loads torch.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

from laser_core.schema import Checked, ConfigError, Problem, option, parse, to_json

SCHEMA_VERSION = 1

Device = Literal["auto", "cpu", "cuda"]


# --- tasks -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SudokuTask(Checked):
    """Sudoku generated with unique solutions; no test puzzle, nor one equivalent under the augmentation, is trained on."""

    kind: Literal["sudoku"] = "sudoku"
    size: Literal[4, 6, 9] = option(4, "Side of the grid; 6×6 has boxes of 2×3.")
    train_puzzles: int = option(1000, "Puzzles to train on.", ge=1, le=1_000_000)
    test_puzzles: int = option(1000, "Unseen puzzles to measure accuracy on.", ge=1, le=100_000)
    max_blanks: int = option(
        0, "Most cells left blank; 0 removes clues as long as the solution stays unique.", ge=0, le=81
    )
    augment: bool = option(
        True, "Permute digits, bands, stacks, rows and columns and transpose, anew for every sample."
    )
    data_seed: int = option(0, "Seed of the puzzles alone, so that paired runs share them.", ge=0, lt=2**31)

    def cross_check(self) -> list[Problem]:
        cells = self.size * self.size
        if self.max_blanks > cells:
            return [
                Problem(
                    "max_blanks",
                    f"expected at most {cells} (the cells of a {self.size}×{self.size} grid), got {self.max_blanks}",
                )
            ]
        return []


@dataclass(frozen=True)
class CsvTask(Checked):
    """Sudoku puzzles from files with the header ``source,q,a,rating``."""

    kind: Literal["csv"] = "csv"
    train: str = option("", "Dataset to train on: its id or name on the platform, a path offline.", max_length=500)
    test: str = option("", "Dataset to test on; empty holds a tenth of the training file back.", max_length=500)
    augment: bool = option(
        True, "Permute digits, bands, stacks, rows and columns and transpose, anew for every sample."
    )

    def cross_check(self) -> list[Problem]:
        return [] if self.train or self.test else [Problem("train", "name at least one dataset, in train or test")]


Task = SudokuTask | CsvTask


# --- model -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ModelConfig(Checked):
    """The Tiny Recursive Model (arXiv 2510.04871)."""

    block: Literal["attention", "mlp"] = option(
        "attention", "Mixes positions by attention or by an MLP over positions."
    )
    width: int = option(64, "Hidden size D.", ge=4, le=4096)
    heads: int = option(4, "Attention heads; must divide the width.", ge=1, le=64)
    layers: int = option(2, "Blocks in the one small network that is applied recursively.", ge=1, le=16)
    latent_steps: int = option(6, "Latent updates per cycle (n).", ge=1, le=64)
    cycles: int = option(3, "Recursion cycles per supervision step (T); only the last carries gradient.", ge=1, le=32)
    expansion: float = option(
        4.0, "SwiGLU expansion; its width is round(2/3 · expansion · D), rounded up to 256.", gt=0, le=16
    )
    positions: Literal["rope", "learned", "none"] = option("rope", "How positions are told apart.")
    puzzle_embedding: int = option(
        0, "Numbers in the embedding of each puzzle identifier; 0 for none.", ge=0, le=65_536
    )
    puzzle_positions: int = option(0, "Leading positions that hold it; 0 for as few as it fills.", ge=0, le=256)

    def cross_check(self) -> list[Problem]:
        if self.block == "attention" and self.width % self.heads:
            return [Problem("heads", f"must divide width {self.width}, got {self.heads}")]
        if self.positions == "rope" and self.block == "attention" and (self.width // self.heads) % 2:
            return [Problem("heads", f"rope needs an even head size, got width {self.width} / heads {self.heads}")]
        if self.puzzle_positions and not self.puzzle_embedding:
            return [Problem("puzzle_positions", "needs puzzle_embedding above 0")]
        if self.puzzle_positions and self.puzzle_positions * self.width < self.puzzle_embedding:
            held = self.puzzle_positions * self.width
            return [
                Problem(
                    "puzzle_positions",
                    f"{self.puzzle_positions} positions hold {held} numbers, puzzle_embedding has {self.puzzle_embedding}",
                )
            ]
        return []


# --- activation stores -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NoneStore(Checked):
    """Keeps every activation, as eager training does."""

    kind: Literal["none"] = "none"


@dataclass(frozen=True)
class CheckpointStore(Checked):
    """Keeps inputs only and computes the rest again in backward (gradient checkpointing)."""

    kind: Literal["checkpoint"] = "checkpoint"
    unit: Literal["block", "call"] = option(
        "block", "What is computed again at once: one block, or one call of the network."
    )


@dataclass(frozen=True)
class LaserStore(Checked):
    """Keeps the inputs of linear layers in a tracked low-rank basis (LASER, arXiv 2604.17224)."""

    kind: Literal["laser"] = "laser"
    energy: float = option(
        0.95,
        "Fidelity threshold ε: share of the activations' energy that the basis must hold; 1 keeps full rank.",
        gt=0,
        le=1,
    )
    rank: int = option(0, "Rank of every site, at most its width; 0 chooses the least that reaches the energy.", ge=0)
    adapt: bool = option(True, "Let the rank grow and shrink, and reset the basis, as fidelity asks.")
    update_every: int = option(
        10, "Most training steps between two updates of the basis; fewer after fidelity was missed.", ge=1, le=100_000
    )
    patience: int = option(3, "Updates in a row below the threshold before the basis is reset (p).", ge=1, le=1000)


@dataclass(frozen=True)
class LaserFusedStore(Checked):
    """Keeps three low-rank tensors per block and computes the rest again from them."""

    kind: Literal["laser-fused"] = "laser-fused"
    energy: float = option(
        0.999,
        "Fidelity threshold ε: share of the activations' energy that the basis must hold; 1 keeps full rank.",
        gt=0,
        le=1,
    )
    rank: int = option(0, "Rank of every site, at most its width; 0 chooses the least that reaches the energy.", ge=0)
    adapt: bool = option(True, "Let the rank grow and shrink, and reset the basis, as fidelity asks.")
    update_every: int = option(
        10, "Most training steps between two updates of the basis; fewer after fidelity was missed.", ge=1, le=100_000
    )
    patience: int = option(3, "Updates in a row below the threshold before the basis is reset (p).", ge=1, le=1000)


Store = NoneStore | CheckpointStore | LaserStore | LaserFusedStore


# --- training ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingConfig(Checked):
    """Deep supervision with AdamW, warm-up and EMA."""

    steps: int = option(1000, "Optimiser steps; each is one supervision step of a batch.", ge=1, le=100_000_000)
    batch_size: int = option(64, "Puzzles per batch.", ge=1, le=65_536)
    learning_rate: float = option(2e-3, "AdamW learning rate after warm-up.", gt=0, le=1)
    warmup_steps: int = option(100, "Steps over which the learning rate rises linearly.", ge=0)
    schedule: Literal["constant", "cosine"] = option(
        "cosine", "Learning rate after warm-up: held, or falling to a tenth along a cosine."
    )
    weight_decay: float = option(0.1, "AdamW weight decay.", ge=0, le=10)
    beta1: float = option(0.9, "AdamW decay of the first moment.", ge=0, lt=1)
    beta2: float = option(0.95, "AdamW decay of the second moment.", ge=0, lt=1)
    puzzle_learning_rate: float = option(1e-2, "Learning rate of the sparse puzzle embeddings (sign-SGD).", gt=0, le=1)
    ema: float = option(
        0.999, "Decay of the averaged weights that are evaluated; 0 evaluates the raw ones.", ge=0, lt=1
    )
    supervision_steps: int = option(16, "Most supervision steps before a puzzle is replaced.", ge=1, le=256)
    halt_exploration: float = option(0.1, "Chance that a puzzle must go on for a random number of steps.", ge=0, le=1)
    log_every: int = option(10, "Steps between two metric points.", ge=1)
    evaluate_every: int = option(0, "Steps between two evaluations; 0 evaluates at the end only.", ge=0)
    checkpoint_every: int = option(200, "Steps between two checkpoints; the end always gets one.", ge=1)


# --- runs --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainConfig(Checked):
    """Trains a model and measures it on unseen puzzles."""

    kind: Literal["train"] = "train"
    name: str = option("", "What people read in lists; empty for one made from the settings.", max_length=120)
    tags: tuple[str, ...] = option((), "Words to find the run by.", max_length=16, item_max_length=40)
    seed: int = option(0, "Seed of weights, batches and rounding.", ge=0, lt=2**31)
    task: Task = option(SudokuTask)
    model: ModelConfig = option(ModelConfig)
    store: Store = option(NoneStore, "What the forward pass keeps for backward.")
    training: TrainingConfig = option(TrainingConfig)
    device: Device = option("auto", "auto takes a GPU where one is usable; cuda fails where none is.")

    def cross_check(self) -> list[Problem]:
        rank = getattr(self.store, "rank", 0)
        if rank > self.model.width:
            return [Problem("store.rank", f"expected at most the model's width {self.model.width}, got {rank}")]
        if isinstance(self.task, CsvTask) and not self.task.train:
            return [Problem("task.train", "name the dataset to train on")]
        return []


@dataclass(frozen=True)
class EvalConfig(Checked):
    """Measures a checkpoint of an earlier training run."""

    checkpoint: str = option(
        help="The training run (its id on the platform), or the checkpoint's folder offline.", max_length=500
    )
    kind: Literal["eval"] = "eval"
    name: str = option("", "What people read in lists; empty for one made from the settings.", max_length=120)
    tags: tuple[str, ...] = option((), "Words to find the run by.", max_length=16, item_max_length=40)
    seed: int = option(0, "Kept with the run; evaluation itself draws nothing at random.", ge=0, lt=2**31)
    task: Task | None = option(None, "Puzzles to evaluate on; none takes the training run's own task.")
    split: Literal["train", "test"] = option("test", "Which part of the task.")
    weights: Literal["ema", "raw"] = option("ema", "Averaged weights, or those of the last step.")
    max_puzzles: int = option(0, "Evaluate at most so many puzzles; 0 for all.", ge=0)
    batch_size: int = option(256, "Puzzles per batch.", ge=1, le=65_536)
    supervision_steps: int = option(16, "Supervision steps given to every puzzle.", ge=1, le=4096)
    device: Device = option("auto", "auto takes a GPU where one is usable; cuda fails where none is.")

    def cross_check(self) -> list[Problem]:
        return [] if self.checkpoint else [Problem("checkpoint", "name the run whose checkpoint to evaluate")]


RunConfig = TrainConfig | EvalConfig


def parse_run(data: Any) -> RunConfig:
    """RunConfig from JSON data. Raises ConfigError naming every field at fault."""
    config: RunConfig = parse(RunConfig, data)
    return config


def config_hash(config: RunConfig) -> str:
    """sha256 (hex) of the whole configuration in canonical JSON."""
    text = json.dumps(to_json(config), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def input_names(config: RunConfig) -> tuple[str, ...]:
    """Datasets that a run reads by name; whoever starts it must know a file for each."""
    task = config.task
    return tuple(name for name in (task.train, task.test) if name) if isinstance(task, CsvTask) else ()


__all__ = [
    "SCHEMA_VERSION", "CheckpointStore", "ConfigError", "CsvTask", "EvalConfig", "LaserFusedStore", "LaserStore",
    "ModelConfig", "NoneStore", "Problem", "RunConfig", "Store", "SudokuTask", "Task", "TrainConfig", "TrainingConfig",
    "config_hash", "input_names", "parse_run", "to_json",
]  # fmt: skip
