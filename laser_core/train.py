"""Trains a TRM: deep supervision with a carry and halting, told as a stream of events.

Everything that decides the next step's numbers is in a Snapshot, so a resumed run equals an uninterrupted one; on a CPU
of the same kind bit for bit. Shapes: B batch; of several processes that train together, each holds its rows of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from laser_core import compiled, distributed, memory
from laser_core.ahead import Ahead
from laser_core.calibrate import choose, settled_store
from laser_core.checkpoint import Checkpoint, check_same, model_sha256
from laser_core.clock import KEPT, StepClock
from laser_core.config import AutoStore, CheckpointStore, Store, TrainConfig, parse_run, to_json
from laser_core.device import check_precision, choose_device, device_name, environment, versions
from laser_core.estimate import eager_bytes
from laser_core.evaluate import Scores, score
from laser_core.events import Event, Log, Memory, Metrics, Progress, Result, Snapshot, Started, Trace
from laser_core.fidelity import gradient_fidelity
from laser_core.finite import FirstBad, check_weights, checked
from laser_core.loss import Losses, act_loss
from laser_core.model import TRM, Batch, Carry, Outputs
from laser_core.optim import adamw, average, load_optimiser_tensors, optimiser_tensors, rate_factor, sign_sgd
from laser_core.stores import ActivationStore, make_store
from laser_core.stores.tracked import TrackedStore
from laser_core.tasks import PuzzleTask, prepare

EVALUATION_BATCH = 256
PROGRESS_EVERY_S = 1.0
_WINDOW = ("loss", "lm_loss", "halt_loss", "exact_accuracy", "cell_accuracy", "halted")


def never() -> bool:
    """Nobody wants a pause."""
    return False


def train(
    config: TrainConfig,
    checkpoint: Checkpoint | None = None,
    *,
    files: Mapping[str, Path] | None = None,
    wants_pause: Callable[[], bool] = never,
) -> Iterator[Event]:
    """Trains from the start, or on from ``checkpoint``; stop asking for events to cancel. Touches disk only to read files.

    When ``wants_pause`` says so, the step at hand ends it with a Snapshot and without a Result.
    Same configuration, same events, but for times. Raises ConfigError for a configuration that can't be run, and
    FloatingPointError when the loss, its gradient or a weight isn't finite any more; no Snapshot holds such weights. The
    loss is looked at when something is told or saved, so the error may come some steps after the one it names.
    """
    device = choose_device(config.device)
    check_precision(device, config.training.precision)
    check_precision(device, getattr(config.store, "backward", "same"), "store.backward")
    distributed.check_shares(config.training.batch_size)
    if checkpoint:
        # Parsed, so that an option that is younger than the checkpoint has the value it had when there was none.
        check_same(to_json(parse_run(checkpoint.state["config"])), to_json(config))
    task = yield from prepare(config.task, files or {})
    store, reason = config.store, ""
    if isinstance(store, AutoStore):
        settled = checkpoint.state["settled_store"] if checkpoint else None
        store, reason = settled_store(settled) if settled else choose(config, store.memory_budget, task, device)
    trainer = Trainer(config, task, device, store)
    if checkpoint:
        trainer.restore(checkpoint)
    parameters = sum(weight.numel() for weight in trainer.model.parameters())
    yield Started(trainer.step, config.training.steps, device_name(device), parameters, versions(), environment(device))
    yield Log(f"training on {device_name(device)}: {len(task.train)} puzzles, {len(task.test)} to test on")
    if reason:
        yield Log(reason)
    if isinstance(trainer.model, compiled.CompiledTRM):
        yield Log("compiling the model first; this may take a minute or two")
    yield from _steps(trainer, wants_pause)
    snapshot = trainer.snapshot()
    yield snapshot
    if trainer.step < config.training.steps:
        return
    scores = yield from _evaluated(trainer)
    yield scores.metrics(trainer.step)
    result = trainer.result(scores, model_sha256(snapshot.model))
    yield dataclasses.replace(result, notes={"store": reason}) if reason else result


def _steps(trainer: Trainer, wants_pause: Callable[[], bool]) -> Iterator[Event]:
    training, told_at = trainer.config.training, time.monotonic()
    while trainer.step < training.steps and not distributed.on_any(wants_pause()):
        yield from trainer.train_step()
        step, is_last = trainer.step, trainer.step == training.steps
        may_rest = getattr(trainer.store, "reuse", 0.0) > 0 and (trainer.is_saving or is_last)  # no trace tells
        if step == 1 or may_rest or (trainer.memory_is_stale and trainer.is_logging):
            yield trainer.measure_memory()
        if trainer.is_logging:
            yield trainer.window_metrics()
        if trainer.is_looking:
            yield from trainer.look_at_gradient()
        if training.evaluate_every and step % training.evaluate_every == 0 and not is_last:
            scores = yield from _evaluated(trainer)
            yield scores.metrics(step)
        if step % training.checkpoint_every == 0 and not is_last:
            yield trainer.snapshot()
        if is_last or time.monotonic() - told_at >= PROGRESS_EVERY_S:
            told_at = time.monotonic()
            trainer.wait()
            yield trainer.progress()


def _evaluated(trainer: Trainer) -> Generator[Event, None, Scores]:
    """Scores of the averaged weights on the test puzzles; lets the consumer in after every batch."""
    task, supervision_steps = trainer.task, trainer.config.training.supervision_steps
    valid = task.valid if task.has_verifier else None
    scoring = score(trainer.averaged_model(), task.test, EVALUATION_BATCH, supervision_steps, valid)
    while True:
        try:
            next(scoring)
        except StopIteration as done:
            scores: Scores = done.value
            return scores
        yield trainer.progress()


class Trainer:
    """A training run between two events: the model and everything that decides its next step."""

    def __init__(self, config: TrainConfig, task: PuzzleTask, device: torch.device, store: Store | None = None) -> None:
        self.store_config = store or config.store  # another one where a calibration settled it
        self.config, self.task, self.device = config, task, device
        weights = _generator(config.seed, "weights")
        self.batches = Ahead(self._draw, _generator(config.seed, "batches"))
        self.halting = _generator(config.seed, "halting")
        self.store = make_store(self.store_config, config.seed)
        sizes = (task.vocab_size, task.seq_len, task.puzzle_identifiers)
        kind = compiled.CompiledTRM if compiled.wants_compile(config, device) else TRM
        self.model = kind(config.model, *sizes, store=self.store, generator=weights).to(device)
        self.averaged = TRM(config.model, *sizes, store=ActivationStore(), generator=weights)
        self.averaged.to(device).load_state_dict(self.model.state_dict())
        self.optimiser = adamw(self.model, config.training)
        self.carry = self.model.initial_carry(config.training.batch_size // distributed.size())
        self.step = 0
        self.window = torch.zeros(len(_WINDOW), dtype=torch.float64, device=device)  # sums since the last metrics
        self.window_steps = 0
        self.gradient_norm = 0.0
        self.memory: tuple[int, int] = (0, 0)  # saved and eager bytes when last measured
        self.memory_is_stale = False
        self.first_bad = FirstBad(device)
        self.clock = StepClock(behind=device.type == "cuda")
        self.earlier_step_time_s = 0.0

    # --- one step

    @property
    def is_logging(self) -> bool:
        """Whether metrics are due after the step just done."""
        return self.step % self.config.training.log_every == 0 or self.step == self.config.training.steps

    def train_step(self) -> list[Trace]:
        """One optimiser step; the traces of the bases that it updated.

        Waits for the device at steps that are logged or saved alone; raises FloatingPointError there as ``train`` says.
        """
        with self.clock.step():
            self.step += 1
            self.store.begin_step(self.step)
            self.carry, outputs = self._forward(self.carry, self.batches.next())
            losses = act_loss(outputs, self.carry.data.labels_BS)
            (losses.total / self.config.training.batch_size).backward()  # type: ignore[no-untyped-call]
            distributed.sum_gradients(self.model.parameters())
            norm = self._gradient_norm() if self.is_logging or self.is_saving else None
            self._move_weights(outputs.puzzle_rows_BE)
            self.carry = dataclasses.replace(self.carry, halted_B=self._halted(outputs.halt_logit_B.detach()))
            self.first_bad.note(self.step, self._add_to_window(losses))
            traces = self._updated_bases()
            self.memory_is_stale |= any(trace.event != "update" for trace in traces)
            if norm is not None:
                self.first_bad.check()
                self.gradient_norm = checked("gradient norm", norm.item(), self.step)
        if norm is not None:
            self.clock.settle()
        return traces

    def _updated_bases(self) -> list[Trace]:
        try:
            return self.store.end_step()
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]  # what activations that aren't finite come to first
            self.first_bad.check()
            raise FloatingPointError(f"a basis can't be computed at step {self.step}: {error}") from error

    def wait(self) -> None:
        """Waits for the device. Raises FloatingPointError if a loss since the start wasn't finite."""
        self.first_bad.check()
        self.clock.settle()

    @property
    def is_saving(self) -> bool:
        """Whether a checkpoint is due after the step just done."""
        return self.step % self.config.training.checkpoint_every == 0

    def _draw(self, generator: torch.Generator) -> Batch:
        return self.task.sample(self.config.training.batch_size, generator, self.device).map(distributed.share)

    def _forward(self, carry: Carry, batch: Batch) -> tuple[Carry, Outputs]:
        """A supervision step in the run's precision; the loss is computed outside of it."""
        is_half = self.config.training.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=is_half):
            return self.model.supervision_step(carry, batch)

    def _gradient_norm(self) -> Tensor:
        gradients = [weight.grad for weight in self.model.parameters() if weight.grad is not None]
        return torch.nn.utils.get_total_norm(gradients)

    def _move_weights(self, puzzle_rows_BE: Tensor | None) -> None:
        training = self.config.training
        factor = rate_factor(training, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = training.learning_rate * factor
        self.optimiser.step()
        self.optimiser.zero_grad()
        if puzzle_rows_BE is not None and puzzle_rows_BE.grad is not None:
            rate = training.puzzle_learning_rate * factor
            rows_B, gradient_BE = (distributed.whole(x) for x in (self.carry.data.puzzles_B, puzzle_rows_BE.grad))
            sign_sgd(self.model.puzzle_table, rows_B, gradient_BE, rate, training.weight_decay)
        average(self.averaged, self.model, training.ema)

    def _halted(self, halt_logit_B: Tensor) -> Tensor:
        """Rows that stop here: out of steps, or sure of their answer, unless exploration holds them longer."""
        most, steps_B = self.config.training.supervision_steps, self.carry.steps_B
        if most == 1:
            return steps_B >= 1
        rows = self.config.training.batch_size
        explores_B = torch.rand(rows, generator=self.halting) < self.config.training.halt_exploration
        least_B = distributed.share(explores_B * torch.randint(2, most + 1, (rows,), generator=self.halting))
        return ((steps_B >= most) | (halt_logit_B > 0)) & (steps_B >= least_B.to(self.device, non_blocking=True))

    # --- what is told

    def _add_to_window(self, losses: Losses) -> Tensor:
        """Losses of all rows; accuracies of those that halted, as the official trainer counts them. The step's loss."""
        halted_B = self.carry.halted_B
        exact, cells = (losses.exact_B & halted_B).sum(), (losses.cell_accuracy_B * halted_B).sum()
        values = (losses.total.detach(), losses.lm, losses.halt, exact, cells, halted_B.sum())
        of_step = distributed.summed(torch.stack([value.double() for value in values]))
        self.window += of_step
        self.window_steps += 1
        return of_step[0]

    def window_metrics(self) -> Metrics:
        """Means since the last call; begins a new window."""
        sums = dict(zip(_WINDOW, self.window.tolist(), strict=True))
        rows, halted = self.window_steps * self.config.training.batch_size, sums.pop("halted")
        values = {
            f"train.{name}": total / (rows if name.endswith("loss") else halted)
            for name, total in sums.items()
            if name.endswith("loss") or halted
        }
        values["train.learning_rate"] = self.config.training.learning_rate * rate_factor(
            self.config.training, self.step
        )
        values["train.gradient_norm"] = self.gradient_norm
        values["memory.saved_bytes"], values["memory.eager_bytes"] = map(float, self.memory)
        values["time.step_s"] = self.clock.median(self.window_steps) or 0.0
        self.window.zero_()
        self.window_steps = 0
        return Metrics(self.step, values)

    def measure_memory(self) -> Memory:
        """Counts what the forward pass holds now, on the carry's own puzzles; changes nothing in the run."""
        if isinstance(self.model, compiled.CompiledTRM):
            measured = compiled.measure(self.model, self._loss, self.step)
        else:
            try:
                measured = memory.measure(self.model, self._loss, self.step, self.memory[1] or None)
            except torch.OutOfMemoryError:  # a packed run has no room for eager training's pass: by its formula then
                eager = eager_bytes(self.config, self.task.seq_len)
                measured = memory.measure(self.model, self._loss, self.step, eager)
        self.memory, self.memory_is_stale = (measured.saved_bytes, measured.eager_bytes), False
        return measured

    def gradient_fidelity(self, exact: ActivationStore | None = None) -> tuple[float, float]:
        """Cosine and relative error of the run's gradient now, on the carry's own puzzles, against that of ``exact`` (eager
        training's if not given); changes nothing in the run."""
        return gradient_fidelity(self.model, self._loss, self.store, exact or ActivationStore())

    @property
    def is_looking(self) -> bool:
        """Whether the gradient's cosine is to be looked at after the step just done."""
        wanted, every = (getattr(self.store_config, name, 0) for name in ("gradient_cosine", "look_every"))
        return bool(wanted) and self.step % every == 0

    def look_at_gradient(self) -> Iterator[Event]:
        """Measures how far the store's gradient is from the exact one, and lets the store answer."""
        cosine, error = self.gradient_fidelity(make_store(CheckpointStore(unit="call")))
        wanted = getattr(self.store_config, "gradient_cosine", 0.0)
        assert isinstance(self.store, TrackedStore)
        has_answered = self.store.heed(cosine, wanted)
        self.memory_is_stale |= has_answered
        yield Metrics(self.step, {"gradient.cosine": cosine, "gradient.relative_error": error})
        if cosine < wanted and not has_answered:
            yield Log(
                f"the gradient's cosine is {cosine:.4f} at step {self.step}, store.gradient_cosine wants {wanted:g}, and the "
                "store's energy can't be raised further: a fixed rank, a budget, weight_energy or rounding is in the way",
                "warning",
            )

    def _loss(self) -> Tensor:
        carry, outputs = self._forward(self.carry, self.carry.data)
        return act_loss(outputs, carry.data.labels_BS).total

    def progress(self) -> Progress:
        """Where the run is."""
        return Progress(self.step, self.config.training.steps, self.step_time_s(recent=50))

    def step_time_s(self, recent: int = KEPT) -> float:
        """Median over the recent steps, without the first of each attempt; 0 before there are any."""
        median = self.clock.median(recent)
        return self.earlier_step_time_s if median is None else median

    def result(self, scores: Scores, weights_sha256: str) -> Result:
        """The end of the run."""
        values = {name: float(getattr(scores, name)) for name in ("exact_accuracy", "cell_accuracy", "loss", "puzzles")}
        values["saved_bytes"], values["eager_bytes"] = map(float, self.memory)
        return Result(values | {"step_time_s": self.step_time_s(), "steps": float(self.step)}, weights_sha256)

    def averaged_model(self) -> TRM:
        """The model that is evaluated. Only weights are averaged: a puzzle embedding is taken as it is."""
        for mine, current in zip(self.averaged.buffers(), self.model.buffers(), strict=True):
            mine.copy_(current)
        return self.averaged

    # --- checkpoints

    def snapshot(self) -> Snapshot:
        """Everything that decides the rest of the run. Raises FloatingPointError rather than hold what isn't finite."""
        model = {f"raw.{name}": x for name, x in self.model.state_dict().items()}
        model |= {f"ema.{name}": x.detach() for name, x in self.averaged.named_parameters()}
        self.wait()
        check_weights(model, self.step)
        store = self.store.state_dict()
        training = {f"optimiser.{name}": x for name, x in optimiser_tensors(self.optimiser, self.model).items()}
        training |= {f"store.{name}": x for name, x in store.items() if isinstance(x, Tensor)}
        training |= {"generator.batches": self.batches.get_state(), "generator.halting": self.halting.get_state()}
        training["window"] = self.window
        distributed.check_equal(model | training)
        training |= {f"carry.{name}": distributed.whole(x) for name, x in _carry_tensors(self.carry).items()}
        state = {
            "config": to_json(self.config),
            "settled_store": to_json(self.store_config),
            "store": {name: x for name, x in store.items() if not isinstance(x, Tensor)},
            "window_steps": self.window_steps,
            "gradient_norm": self.gradient_norm,
            "memory": list(self.memory),
            "memory_is_stale": self.memory_is_stale,
            "step_time_s": self.step_time_s(),
        }
        return Snapshot(self.step, model, training, state)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Takes up where ``snapshot`` left off."""
        state, training = checkpoint.state, checkpoint.training
        self.step = checkpoint.step
        self.model.load_state_dict(_under("raw.", checkpoint.model))
        self.averaged.load_state_dict(_under("raw.", checkpoint.model) | _under("ema.", checkpoint.model))
        load_optimiser_tensors(self.optimiser, self.model, _under("optimiser.", training))
        self.carry = _carry({k: distributed.share(x).to(self.device) for k, x in _under("carry.", training).items()})
        store = {name: x.to(self.device) for name, x in _under("store.", training).items()}
        self.store.load_state_dict(store | state["store"])
        self.batches.set_state(training["generator.batches"])
        self.halting.set_state(training["generator.halting"])
        self.window = training["window"].to(self.device, copy=True)
        self.window_steps, self.gradient_norm = state["window_steps"], state["gradient_norm"]
        self.memory, self.memory_is_stale = tuple(state["memory"]), state["memory_is_stale"]
        self.earlier_step_time_s = state["step_time_s"]


def _carry_tensors(carry: Carry) -> dict[str, Tensor]:
    own = {"answer": carry.answer_BLD, "latent": carry.latent_BLD, "steps": carry.steps_B, "halted": carry.halted_B}
    return own | {"inputs": carry.data.inputs_BS, "labels": carry.data.labels_BS, "puzzles": carry.data.puzzles_B}


def _carry(x: dict[str, Tensor]) -> Carry:
    return Carry(x["answer"], x["latent"], x["steps"], x["halted"], Batch(x["inputs"], x["labels"], x["puzzles"]))


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): x for name, x in tensors.items() if name.startswith(prefix)}


def _generator(seed: int, purpose: str) -> torch.Generator:
    """A generator of its own for each purpose, so that no draw shifts another's."""
    digest = hashlib.sha256(f"{seed} {purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1)
