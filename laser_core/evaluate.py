"""How many puzzles a model solves: of a model at hand, or of an earlier run's checkpoint (run kind ``eval``).

Every puzzle gets all supervision steps, as in the official evaluation; nothing halts early.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from laser_core.checkpoint import Checkpoint
from laser_core.config import ConfigError, EvalConfig, Problem, TrainConfig, parse_run
from laser_core.device import choose_device, device_name, versions
from laser_core.events import Event, Metrics, Progress, Result, Started
from laser_core.loss import act_loss
from laser_core.model import TRM, Batch
from laser_core.stores import ActivationStore
from laser_core.tasks import Puzzles, PuzzleTask, prepare


@dataclass(frozen=True)
class Scores:
    """Means over all puzzles; accuracies are 0..1, ``supervision_steps`` is when the model first wished to halt."""

    exact_accuracy: float
    cell_accuracy: float
    loss: float
    supervision_steps: float
    puzzles: int

    def metrics(self, step: int) -> Metrics:
        """The metrics ``test.*`` of this evaluation."""
        names = ("exact_accuracy", "cell_accuracy", "supervision_steps")
        return Metrics(step, {f"test.{name}": getattr(self, name) for name in names})


def score(model: TRM, puzzles: Puzzles, batch_size: int, supervision_steps: int) -> Generator[int, None, Scores]:
    """Solves all ``puzzles``, yielding how many are done after each batch; the generator's value is the Scores."""
    device = model.answer_init.device
    sums = torch.zeros(4, dtype=torch.float64, device=device)
    for start in range(0, len(puzzles), batch_size):
        batch = puzzles.batch(slice(start, start + batch_size), device)
        sums += _batch_sums(model, batch, supervision_steps)
        yield start + len(batch.inputs_BS)
    exact, cells, loss, halting = (sums / len(puzzles)).tolist()
    return Scores(exact, cells, loss, halting, len(puzzles))


@torch.inference_mode()
def _batch_sums(model: TRM, batch: Batch, supervision_steps: int) -> Tensor:
    carry = model.initial_carry(len(batch.inputs_BS))
    going_B, wished_B = torch.ones_like(carry.halted_B), torch.zeros_like(carry.steps_B)
    for _ in range(supervision_steps):
        carry, outputs = model.supervision_step(carry, batch)
        wished_B += going_B
        going_B &= outputs.halt_logit_B <= 0
    losses = act_loss(outputs, batch.labels_BS)
    return torch.stack([x.double() for x in _each(losses.exact_B, losses.cell_accuracy_B, losses.total, wished_B)])


def _each(*values: Tensor) -> Iterator[Tensor]:
    return (value.sum() for value in values)


def evaluate(config: EvalConfig, checkpoint: Checkpoint, *, files: Mapping[str, Path]) -> Iterator[Event]:
    """Measures ``checkpoint``: Started, Progress in puzzles, Metrics at the checkpoint's step, Result.

    Raises ConfigError where the puzzles don't suit the checkpoint's model or there are none to measure on.
    """
    device = choose_device(config.device)
    trained = parse_run(checkpoint.state["config"])
    assert isinstance(trained, TrainConfig)
    task = yield from prepare(config.task or trained.task, files)
    puzzles = _chosen(config, task)
    model = load_model(trained, task, checkpoint, config.weights).to(device)
    yield Started(0, len(puzzles), device_name(device), sum(p.numel() for p in model.parameters()), versions())
    scoring = score(model, puzzles, config.batch_size, config.supervision_steps)
    while True:
        try:
            yield Progress(next(scoring), len(puzzles), 0.0)
        except StopIteration as done:
            scores: Scores = done.value
            break
    yield scores.metrics(checkpoint.step)
    values = {name: float(getattr(scores, name)) for name in ("exact_accuracy", "cell_accuracy", "loss", "puzzles")}
    yield Result(values | {"steps": float(checkpoint.step)}, notes={"split": config.split, "weights": config.weights})


def load_model(trained: TrainConfig, task: PuzzleTask, checkpoint: Checkpoint, weights: str) -> TRM:
    """The checkpoint's model with its ``ema`` or ``raw`` weights. Raises ConfigError where ``task`` doesn't suit it."""
    tensors = checkpoint.model
    state = {name.removeprefix("raw."): x for name, x in tensors.items() if name.startswith("raw.")}
    if weights == "ema":
        state |= {name.removeprefix("ema."): x for name, x in tensors.items() if name.startswith("ema.")}
    learnt = state["lm_head.weight"].shape[0]
    if learnt != task.vocab_size:
        message = (
            f"has {task.size}×{task.size} puzzles ({task.vocab_size} tokens), but the checkpoint knows {learnt} tokens"
        )
        raise ConfigError(Problem("task", f"{message}; choose puzzles of the size it was trained on"))
    model = TRM(trained.model, task.vocab_size, task.seq_len, store=ActivationStore(), generator=torch.Generator())
    model.load_state_dict(state)
    return model


def _chosen(config: EvalConfig, task: PuzzleTask) -> Puzzles:
    puzzles = task.train if config.split == "train" else task.test
    if not len(puzzles):
        raise ConfigError(
            Problem("split", f"the task has no {config.split} puzzles; name a dataset in task.{config.split}")
        )
    limit = config.max_puzzles or len(puzzles)
    return Puzzles(puzzles.inputs_NS[:limit], puzzles.labels_NS[:limit])
