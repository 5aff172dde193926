"""The kinds of run, and what is said about any of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

from laser_core.config.model import ModelConfig
from laser_core.config.stores import NoneStore, Store
from laser_core.config.tasks import CsvTask, SudokuTask, Task, dataset_names
from laser_core.config.training import TrainingConfig
from laser_core.puzzle_text import fault
from laser_core.schema import Checked, Problem, option, parse, to_json

SCHEMA_VERSION = 1

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class TrainConfig(Checked):
    """Trains a model and measures it on unseen puzzles."""

    kind: Literal["train"] = "train"
    name: str = option("", "What people read in lists; empty for one made from the settings.", max_length=120)
    tags: tuple[str, ...] = option((), "Words to find the run by.", max_length=16, item_max_length=40)
    seed: int = option(0, "Seed of weights, batches and rounding.", ge=0, lt=2**31)
    task: Task = option(SudokuTask, "What it is trained and measured on.")
    model: ModelConfig = option(ModelConfig, "The network's shape.")
    store: Store = option(NoneStore, "What the forward pass keeps for backward.")
    training: TrainingConfig = option(TrainingConfig, "How long, how fast, and how its weights move.")
    device: Device = option("auto", "auto takes a GPU where one is usable; cuda fails where none is.")

    def cross_check(self) -> list[Problem]:
        rank = getattr(self.store, "rank", 0)
        if rank > self.model.width:
            return [Problem("store.rank", f"expected at most the model's width {self.model.width}, got {rank}")]
        if isinstance(self.task, CsvTask) and not self.task.train:
            return [Problem("task.train", "name the dataset to train on")]
        if self.training.compile == "on" and not isinstance(self.store, NoneStore):
            reason = f"can't compile store {self.store.kind}: only none lets the compiler choose what backward keeps"
            return [Problem("training.compile", f"{reason}; choose auto or off, or store none")]
        return []


@dataclass(frozen=True)
class ProjectionConfig(Checked):
    """Projects the recursion's states onto few directions at inference, beside the same model left alone."""

    rank: int = option(0, "Directions that are kept (r), at most the model's width; 0 leaves the states alone.", ge=0)
    states: Literal["latent", "both"] = option("latent", "The latent alone, or the answer too.")
    every: Literal["step", "call"] = option("step", "After every supervision step, or every call of the network.")
    basis: Literal["auto", "tracked", "measured", "random"] = option(
        "auto",
        "That of the training run's activation store; the leading directions on training puzzles; a control; "
        "auto takes the first where it has so many directions, else the second.",
    )
    multiple: int = option(8, "Supervision steps of the comparison, in multiples of the trained ones.", ge=1, le=64)


@dataclass(frozen=True)
class EvalConfig(Checked):
    """Measures a checkpoint of an earlier training run."""

    checkpoint: str = option(
        help="The training run (its id on the platform), or the checkpoint's folder offline.", max_length=500
    )
    kind: Literal["eval"] = "eval"
    name: str = option("", "What people read in lists; empty for one made from the settings.", max_length=120)
    tags: tuple[str, ...] = option((), "Words to find the run by.", max_length=16, item_max_length=40)
    seed: int = option(0, "Seed of the noise of rollouts; plain evaluation draws nothing.", ge=0, lt=2**31)
    task: Task | None = option(None, "Puzzles to evaluate on; none takes the training run's own task.")
    split: Literal["train", "test"] = option("test", "Which part of the task.")
    weights: Literal["ema", "raw"] = option("ema", "Averaged weights, or those of the last step.")
    max_puzzles: int = option(0, "Evaluate at most so many puzzles; 0 for all.", ge=0)
    batch_size: int = option(256, "Puzzles per batch.", ge=1, le=65_536)
    supervision_steps: int = option(16, "Supervision steps given to every puzzle.", ge=1, le=4096)
    rollouts: int = option(1, "Answers per puzzle (K), all but the first under noise; 1 for none.", ge=1, le=1024)
    noise: float = option(
        1.0, "Standard deviation (σ) of what rollouts add to the latent before every supervision step.", gt=0, le=100
    )
    choose: Literal["halt", "mode", "verifier"] = option(
        "halt", "Which rollout counts: best halting value, most frequent answer, or first that the task's rules accept."
    )
    projection: ProjectionConfig = option(ProjectionConfig, "Whether the states are projected, and how.")
    device: Device = option("auto", "auto takes a GPU where one is usable; cuda fails where none is.")

    def cross_check(self) -> list[Problem]:
        return [] if self.checkpoint else [Problem("checkpoint", "name the run whose checkpoint to evaluate")]


@dataclass(frozen=True)
class AnalysisConfig(Checked):
    """Looks into a checkpoint's activations: spectra, dimensions, angles, and which of LASER's claims they bear out."""

    checkpoint: str = option(
        help="The training run (its id on the platform), or the checkpoint's folder offline.", max_length=500
    )
    kind: Literal["analysis"] = "analysis"
    name: str = option("", "What people read in lists; empty for one made from the settings.", max_length=120)
    tags: tuple[str, ...] = option((), "Words to find the run by.", max_length=16, item_max_length=40)
    seed: int = option(0, "Seed of samples, Gaussian controls and the untied control's weights.", ge=0, lt=2**31)
    task: Task | None = option(None, "Puzzles to look at; none takes the training run's own task.")
    split: Literal["train", "test"] = option("test", "Which part of the task.")
    weights: Literal["ema", "raw"] = option("ema", "Averaged weights, or those of the last step.")
    max_puzzles: int = option(64, "Look at so many puzzles at most; 0 for all.", ge=0)
    batch_size: int = option(32, "Puzzles per batch.", ge=1, le=65_536)
    supervision_steps: int = option(
        4, "Supervision steps given to every puzzle; the powers of two and the last are looked at.", ge=1, le=4096
    )
    other_checkpoints: bool = option(True, "Also compare with the run's other checkpoints that are still there.")
    controls: bool = option(True, "Also look at the initial weights, and at untied random ones per recursion step.")
    dimension_points: int = option(
        1000, "Points per estimate of the intrinsic dimension (TwoNN); 0 leaves it out.", ge=0, le=100_000
    )
    tracking_steps: int = option(
        30, "Training steps that a tracker follows beside the exact SVD; 0 for none.", ge=0, le=100_000
    )
    device: Device = option("auto", "auto takes a GPU where one is usable; cuda fails where none is.")

    def cross_check(self) -> list[Problem]:
        return [] if self.checkpoint else [Problem("checkpoint", "name the run whose checkpoint to analyse")]


@dataclass(frozen=True)
class InspectConfig(Checked):
    """Follows one puzzle through a checkpoint's recursion: what it answers, how sure it is, where its latent goes."""

    checkpoint: str = option(
        help="The training run (its id on the platform), or the checkpoint's folder offline.", max_length=500
    )
    kind: Literal["inspect"] = "inspect"
    name: str = option("", "What people read in lists; empty for one made from the settings.", max_length=120)
    tags: tuple[str, ...] = option((), "Words to find the run by.", max_length=16, item_max_length=40)
    puzzle: str = option(
        "",
        "A Sudoku of 81, 36 or 16 characters with . or 0 for a blank, or a maze of # SG; empty takes one of the task.",
        max_length=2000,
    )
    index: int = option(0, "Which puzzle of the task, counted from 0, where none is given.", ge=0)
    task: Task | None = option(None, "Where the puzzle comes from; none takes the training run's own task.")
    split: Literal["train", "test"] = option("test", "Which part of the task.")
    weights: Literal["ema", "raw"] = option("ema", "Averaged weights, or those of the last step.")
    supervision_steps: int = option(16, "Supervision steps given to the puzzle.", ge=1, le=64)
    device: Device = option("auto", "auto takes a GPU where one is usable; cuda fails where none is.")

    def cross_check(self) -> list[Problem]:
        if not self.checkpoint:
            return [Problem("checkpoint", "name the run whose checkpoint to look into")]
        wrong = fault(self.puzzle) if self.puzzle else ""
        return [Problem("puzzle", wrong)] if wrong else []


RunConfig = TrainConfig | EvalConfig | AnalysisConfig | InspectConfig


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
    return dataset_names(config.task)
