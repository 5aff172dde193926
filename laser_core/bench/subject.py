"""The models that are measured: trained once with store ``none``, and kept in a cache."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from laser_core import checkpoint
from laser_core.bench.scales import Stage
from laser_core.checkpoint import Checkpoint, CheckpointError
from laser_core.config import Store, TrainConfig, config_hash
from laser_core.events import Progress, Snapshot
from laser_core.loss import act_loss
from laser_core.model import TRM, Batch, Carry
from laser_core.stores import ActivationStore
from laser_core.tasks import PuzzleTask, prepare
from laser_core.train import Trainer, train

Tell = Callable[[str], None]
Value = TypeVar("Value")
UNROLLED = 2  # supervision steps before the one that is measured


@dataclass(frozen=True)
class Subject:
    """A training run, its puzzles, and its checkpoints by stage."""

    config: TrainConfig
    task: PuzzleTask
    device: torch.device
    stages: dict[Stage, Checkpoint]

    def trainer(self, stage: Stage, store: Store) -> Trainer:
        """Training as it went on from ``stage``, but with another store."""
        trainer = Trainer(dataclasses.replace(self.config, store=store), self.task, self.device)
        trainer.restore(self.stages[stage])
        return trainer

    def weights(self, stage: Stage) -> dict[str, Tensor]:
        """The model's state, as trained (not averaged)."""
        saved = self.stages[stage].model
        return {name.removeprefix("raw."): x for name, x in saved.items() if name.startswith("raw.")}

    def model(self) -> TRM:
        """A model to load weights into."""
        sizes = (self.task.vocab_size, self.task.seq_len, self.task.puzzle_identifiers)
        generator = torch.Generator().manual_seed(0)
        return TRM(self.config.model, *sizes, store=ActivationStore(), generator=generator).to(self.device)

    def situation(self, stage: Stage, number: int = 0) -> Situation:
        """One of the batches that stores are compared on, two supervision steps on."""
        generator = torch.Generator().manual_seed(1 + number)
        batch = self.task.sample(self.config.training.batch_size, generator, self.device)
        half = self.config.training.precision == "bfloat16"
        model = self.model()
        model.load_state_dict(self.weights(stage))
        here = Situation(batch, model.initial_carry(len(batch.inputs_BS)), half)
        with torch.no_grad():
            for _ in range(UNROLLED):
                here = dataclasses.replace(here, carry=here.forward(model)[0])
        return here


@dataclass(frozen=True)
class Situation:
    """A batch and a carry: every forward pass from here has the same numbers."""

    batch: Batch
    carry: Carry
    half: bool

    def forward(self, model: TRM) -> tuple[Carry, Tensor]:
        """The next carry and the loss."""
        with torch.autocast(self.batch.inputs_BS.device.type, torch.bfloat16, enabled=self.half):
            carry, outputs = model.supervision_step(self.carry, self.batch)
        return carry, act_loss(outputs, carry.data.labels_BS).total

    def loss(self, model: TRM) -> Tensor:
        """The loss of one more supervision step."""
        return self.forward(model)[1]


def subject(config: TrainConfig, mid: int, device: torch.device, cache: Path, tell: Tell) -> Subject:
    """The trained subject; training that ``cache`` holds isn't done again, and what was cut off goes on."""
    task = result(prepare(config.task, {}))
    folder = cache / f"{config.model.block}-{config_hash(config)[:12]}"
    start, steps = checkpoint.latest(folder), config.training.steps
    if start is None or start.step < steps:
        for event in train(config, start):
            if isinstance(event, Snapshot):
                checkpoint.save(event, folder, keep=steps)  # all of them
            elif isinstance(event, Progress):
                tell(f"training {config.model.block}, n={config.model.latent_steps}: step {event.step} of {steps}")
    first = Trainer(config, task, device).snapshot()
    stages: dict[Stage, Checkpoint] = {"init": Checkpoint(first.step, first.model, first.training, first.state)}
    stages["mid"], stages["late"] = (_loaded(folder / f"step-{step:08d}") for step in (mid, steps))
    return Subject(config, task, device, stages)


def _loaded(folder: Path) -> Checkpoint:
    try:
        return checkpoint.load(folder)
    except CheckpointError as error:
        raise OSError(f"{error}; remove {folder.parent} to train anew") from error


def result(generator: Generator[object, None, Value]) -> Value:
    """The generator's value, whatever it says on the way."""
    while True:
        try:
            next(generator)
        except StopIteration as done:
            value: Value = done.value
            return value
