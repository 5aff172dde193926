"""How many puzzles a model solves: of a model at hand, or of an earlier run's checkpoint (run kind ``eval``).

Every puzzle gets all supervision steps, as in the official evaluation; nothing halts early. What may be gained at inference
time is in ``rollouts`` and ``projection``. Shapes: B batch, T supervision steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from laser_core.checkpoint import Checkpoint
from laser_core.config import ConfigError, EvalConfig, Problem, TrainConfig, parse_run
from laser_core.device import choose_device, device_name, environment, versions
from laser_core.distributed import dealt, summed
from laser_core.events import Event, Metrics, Progress, Result, Started
from laser_core.loss import act_loss
from laser_core.model import TRM, Batch
from laser_core.projection import compare, make_projector
from laser_core.rollouts import Verifier, roll_out
from laser_core.stores import ActivationStore
from laser_core.tasks import Puzzles, PuzzleTask, prepare
from laser_core.unroll import unrolled

T = TypeVar("T")


@dataclass(frozen=True)
class StepScores:
    """Means over all puzzles after one supervision step; shares are 0..1."""

    exact_accuracy: float
    cell_accuracy: float
    wished: float  # share that has wished to halt by then
    halting_accuracy: float | None  # exact accuracy of those that wished it here for the first time; None without any


@dataclass(frozen=True)
class Scores:
    """Means over all puzzles; accuracies are 0..1, ``supervision_steps`` is when the model first wished to halt.

    ``valid_accuracy`` is the share of answers that the rules accept, whatever the label says; None without rules.
    """

    exact_accuracy: float
    cell_accuracy: float
    loss: float
    supervision_steps: float
    puzzles: int
    steps: tuple[StepScores, ...]  # after each supervision step
    valid_accuracy: float | None = None

    def metrics(self, step: int) -> Metrics:
        """The metrics ``test.*`` of this evaluation."""
        names = ("exact_accuracy", "valid_accuracy", "cell_accuracy", "supervision_steps")
        values = {f"test.{name}": getattr(self, name) for name in names}
        return Metrics(step, {name: value for name, value in values.items() if value is not None})

    def curves(self) -> Iterator[Metrics]:
        """``steps.*`` and ``halting.*`` over supervision steps."""
        for step, scores in enumerate(self.steps, 1):
            values = {"steps.exact_accuracy": scores.exact_accuracy, "steps.cell_accuracy": scores.cell_accuracy}
            values["halting.wished"] = scores.wished
            if scores.halting_accuracy is not None:
                values["halting.exact_accuracy"] = scores.halting_accuracy
            yield Metrics(step, values)

    def halting(self) -> dict[str, float]:
        """When puzzles first wished to halt, those that never did counted at the last step."""
        median = 1 + sum(scores.wished < 0.5 for scores in self.steps[:-1])
        return {
            "halting.wished": self.steps[-1].wished,
            "halting.mean_step": self.supervision_steps,
            "halting.median_step": float(median),
        }


def score(
    model: TRM, puzzles: Puzzles, batch_size: int, supervision_steps: int, valid: Verifier | None = None
) -> Generator[int, None, Scores]:
    """Solves all ``puzzles``, yielding how many are done after each batch; the generator's value is the Scores.

    Processes that train together share the work, and all have the Scores.
    """
    device = model.answer_init.device
    sums_T5 = torch.zeros(supervision_steps, 5, dtype=torch.float64, device=device)
    accepted = torch.zeros((), dtype=torch.int64, device=device)
    for start in dealt(range(0, len(puzzles), batch_size)):
        batch = puzzles.batch(slice(start, start + batch_size), device)
        batch_sums_T5, answers_BS = _solved(model, batch, supervision_steps)
        sums_T5 += batch_sums_T5
        accepted += valid(batch.inputs_BS, answers_BS).sum() if valid else 0
        yield start + len(batch.inputs_BS)
    scores = _scores(summed(sums_T5).tolist(), len(puzzles))
    valid_accuracy = int(summed(accepted)) / len(puzzles) if valid else None
    return dataclasses.replace(scores, valid_accuracy=valid_accuracy)


@torch.inference_mode()
def _solved(model: TRM, batch: Batch, supervision_steps: int) -> tuple[Tensor, Tensor]:
    """After each supervision step (T, 5): right puzzles, cell accuracy, loss, puzzles that wish to halt for the first time,
    and how many of those are right. And the answers (B, S) after the last."""
    rows: list[Tensor] = []
    going_B = torch.ones_like(batch.puzzles_B, dtype=torch.bool)
    for _, outputs in unrolled(model, batch, supervision_steps):
        losses = act_loss(outputs, batch.labels_BS)
        wishes_B = going_B & (outputs.halt_logit_B > 0)
        going_B &= ~wishes_B
        values = (losses.exact_B, losses.cell_accuracy_B, losses.total, wishes_B, wishes_B & losses.exact_B)
        rows.append(torch.stack([value.sum().double() for value in values]))
    return torch.stack(rows), outputs.logits_BSV.argmax(-1)


def _scores(sums_T5: list[list[float]], puzzles: int) -> Scores:
    steps, wished, waited = [], 0.0, 0.0
    for exact, cells, _, wishes, wishes_right in sums_T5:
        waited += puzzles - wished
        wished += wishes
        accuracy = wishes_right / wishes if wishes else None
        steps.append(StepScores(exact / puzzles, cells / puzzles, wished / puzzles, accuracy))
    last, loss = steps[-1], sums_T5[-1][2]
    return Scores(last.exact_accuracy, last.cell_accuracy, loss / puzzles, waited / puzzles, puzzles, tuple(steps))


def evaluate(config: EvalConfig, checkpoint: Checkpoint, *, files: Mapping[str, Path]) -> Iterator[Event]:
    """Measures ``checkpoint``: Started, Progress in puzzles (once for every way to solve them), Metrics, Result.

    The accuracy in ``test.*`` (at the checkpoint's step) and in the Result is that of the chosen rollouts where there
    are several. Raises ConfigError where the puzzles don't suit the checkpoint's model or there are none to measure on,
    and for a verifier or a basis that isn't to be had.
    """
    device = choose_device(config.device)
    trained = parse_run(checkpoint.state["config"])
    assert isinstance(trained, TrainConfig)
    task = yield from prepare(config.task or trained.task, files)
    puzzles, valid = _chosen(config, task), _verifier(config, task)
    model = load_model(trained, task, checkpoint, config.weights).to(device)
    projector = make_projector(config, model, task, trained, checkpoint) if config.projection.rank else None
    passes = _Passes(len(puzzles), 1 + (config.rollouts > 1) + (projector is not None))
    yield Started(
        0,
        passes.total,
        device_name(device),
        sum(p.numel() for p in model.parameters()),
        versions(),
        environment(device),
    )
    scores = yield from passes.told(score(model, puzzles, config.batch_size, config.supervision_steps, valid))
    yield from scores.curves()
    values = scores.halting()
    if scores.valid_accuracy is not None:
        values["valid_accuracy"] = scores.valid_accuracy
    notes: dict[str, str] = {"split": config.split, "weights": config.weights}
    if config.rollouts > 1:
        rolled = yield from passes.told(roll_out(model, puzzles, config, valid))
        yield from rolled.curve()
        picks = rolled.chosen(config.rollouts)[config.choose]
        exact, cells = rolled.accuracy(picks)
        values |= {"plain.exact_accuracy": scores.exact_accuracy} | rolled.validity(picks)
        notes["choose"] = config.choose
        accepted = values.get("valid_accuracy")
        scores = dataclasses.replace(scores, exact_accuracy=exact, cell_accuracy=cells, valid_accuracy=accepted)
    if projector:
        steps = config.projection.multiple * trained.training.supervision_steps
        comparison = yield from passes.told(compare(model, puzzles, config, steps, projector))
        yield from comparison.metrics()
        values |= comparison.values(trained.training.supervision_steps)
        notes["projection"] = projector.source
    yield scores.metrics(checkpoint.step)
    values |= {name: float(getattr(scores, name)) for name in ("exact_accuracy", "cell_accuracy", "loss", "puzzles")}
    yield Result(values | {"steps": float(checkpoint.step)}, notes=notes)


class _Passes:
    """Tells the progress of several passes over the same puzzles."""

    def __init__(self, puzzles: int, passes: int) -> None:
        self.puzzles, self.total, self.done = puzzles, puzzles * passes, 0

    def told(self, one: Generator[int, None, T]) -> Generator[Progress, None, T]:
        """Progress after every batch of a pass; the generator's value is the pass's."""
        while True:
            try:
                yield Progress(self.done + next(one), self.total, 0.0)
            except StopIteration as end:
                self.done += self.puzzles
                value: T = end.value
                return value


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
    known = len(state["puzzle_table"]) if "puzzle_table" in state else task.puzzle_identifiers
    if known < task.puzzle_identifiers:
        message = f"has {task.puzzle_identifiers} puzzle identifiers, but the checkpoint's embedding knows {known}"
        raise ConfigError(Problem("task", f"{message}; choose the puzzles and augmentations it was trained on"))
    sizes = (task.vocab_size, task.seq_len, known)
    model = TRM(trained.model, *sizes, store=ActivationStore(), generator=torch.Generator())
    if any(state[name].shape != x.shape for name, x in model.state_dict().items()):
        message = f"has {task.seq_len} cells, and the checkpoint's model knows the positions of another number"
        raise ConfigError(Problem("task", f"{message}; choose puzzles of the size it was trained on"))
    model.load_state_dict(state)
    return model


def _chosen(config: EvalConfig, task: PuzzleTask) -> Puzzles:
    puzzles = task.train if config.split == "train" else task.test
    if not len(puzzles):
        raise ConfigError(
            Problem("split", f"the task has no {config.split} puzzles; name a dataset in task.{config.split}")
        )
    limit = config.max_puzzles or len(puzzles)
    return puzzles[:limit]


def _verifier(config: EvalConfig, task: PuzzleTask) -> Verifier | None:
    if config.choose == "verifier" and not task.has_verifier:
        raise ConfigError(Problem("choose", "the task has no rules to verify an answer by; expected halt or mode"))
    return task.valid if task.has_verifier else None
