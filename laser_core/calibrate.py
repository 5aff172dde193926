"""Settles the store ``auto``: the fastest activation store that fits a memory budget, by a few steps of each."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from laser_core import memory
from laser_core.config import (
    CheckpointStore,
    ConfigError,
    LaserCodedStore,
    NoneStore,
    Problem,
    Store,
    TrainConfig,
)  # fmt: skip
from laser_core.device import has_bfloat16
from laser_core.distributed import of_leader, share
from laser_core.loss import act_loss
from laser_core.model import TRM, Batch
from laser_core.schema import parse
from laser_core.stores import make_store
from laser_core.tasks import PuzzleTask

REUSE = 0.3  # saves bytes and time as soon as recursion comes to rest
CANDIDATES: tuple[Store, ...] = (
    NoneStore(), LaserCodedStore(reuse=REUSE), CheckpointStore(unit="block"), CheckpointStore(unit="call"),
    LaserCodedStore(reuse=REUSE, keep="call"),
)  # fmt: skip
IN_BFLOAT16: tuple[Store, ...] = (
    LaserCodedStore(reuse=REUSE, backward="bfloat16"),
    LaserCodedStore(reuse=REUSE, keep="call", backward="bfloat16"),
)
_ROUNDS = 4  # the first makes bases and isn't timed
MIB = 1 << 20


@dataclass(frozen=True)
class Measured:
    """What a store costs: bytes held between forward and backward, and the shortest of a few steps."""

    store: Store
    saved_bytes: int
    step_time_s: float

    @property
    def name(self) -> str:
        return name_of(self.store)


def name_of(store: Store) -> str:
    """What tells candidates apart."""
    per = getattr(store, "unit", None) or getattr(store, "keep", None)
    in_half = getattr(store, "backward", "same") == "bfloat16"
    return store.kind + f" per {per}" * bool(per) + " (backward in bfloat16)" * in_half


def candidates(config: TrainConfig, device: torch.device) -> tuple[Store, ...]:
    """What is tried. A backward pass in bfloat16 is where the device has it, and forward isn't in bfloat16 already."""
    is_more_to_try = config.training.precision != "bfloat16" and has_bfloat16(device)
    return CANDIDATES + IN_BFLOAT16 if is_more_to_try else CANDIDATES


def choose(config: TrainConfig, memory_budget: float, task: PuzzleTask, device: torch.device) -> tuple[Store, str]:
    """The fastest candidate that holds at most ``memory_budget`` MiB, and the reason in words.

    Raises ConfigError naming ``store.memory_budget`` where none does. Measured on fresh weights: codes take somewhat more or
    fewer bits later, and the first step of training, which makes the bases, holds activations in full.
    """
    batch = task.sample(config.training.batch_size, torch.Generator().manual_seed(config.seed), device).map(share)
    measured = of_leader(_measure(config, task, batch, device))
    fitting = [cost for cost in measured if cost.saved_bytes <= memory_budget * MIB]
    if not fitting:
        least = min(measured, key=lambda cost: cost.saved_bytes)
        message = (
            f"{memory_budget:g} MiB is less than any store holds for this model and batch; the least is "
            f"{least.saved_bytes / MIB:.2f} MiB by {least.name}: allow that, or choose a smaller batch_size"
        )
        raise ConfigError(Problem("store.memory_budget", message))
    best = min(fitting, key=lambda cost: cost.step_time_s)
    return best.store, _reason(best, measured, memory_budget)


def settled_store(data: Any) -> tuple[Store, str]:
    """The store that an earlier attempt of a run settled on, and a reason to match."""
    store: Store = parse(Store, data)
    return store, f"store {name_of(store)}, as chosen when this run began"


def _reason(best: Measured, measured: list[Measured], memory_budget: float) -> str:
    others = ", ".join(
        f"{cost.name} {cost.saved_bytes / MIB:.2f} MiB at {cost.step_time_s / best.step_time_s:.2f}× the time"
        for cost in measured
        if cost is not best
    )
    held = f"it holds {best.saved_bytes / MIB:.2f} of {memory_budget:g} MiB"
    return f"store {best.name} is the fastest that fits: {held} in {best.step_time_s:.3g} s a step; others: {others}"


def _measure(config: TrainConfig, task: PuzzleTask, batch: Batch, device: torch.device) -> list[Measured]:
    stores = candidates(config, device)
    models = [_model(config, store, task, device) for store in stores]
    times: list[list[float]] = [[] for _ in models]
    for step in range(1, _ROUNDS + 1):  # interleaved, so that a busy machine is unfair to none
        for model, mine in zip(models, times, strict=True):
            mine.append(_step_time(model, _loss(model, batch), step, device))
    held = [memory.measure(model, _loss(model, batch), 0, eager_bytes=1).saved_bytes for model in models]
    return [
        Measured(store, saved_bytes, min(mine[1:]))
        for store, saved_bytes, mine in zip(stores, held, times, strict=True)
    ]


def _model(config: TrainConfig, store: Store, task: PuzzleTask, device: torch.device) -> TRM:
    weights = torch.Generator().manual_seed(config.seed)
    built = make_store(store, config.seed)
    shape = (task.vocab_size, task.seq_len, task.puzzle_identifiers)
    return TRM(config.model, *shape, store=built, generator=weights).to(device)


def _loss(model: TRM, batch: Batch) -> Callable[[], Tensor]:
    carry = model.initial_carry(len(batch.inputs_BS))

    def loss() -> Tensor:
        after, outputs = model.supervision_step(carry, batch)
        return act_loss(outputs, after.data.labels_BS).total

    return loss


def _step_time(model: TRM, loss: Callable[[], Tensor], step: int, device: torch.device) -> float:
    began = time.perf_counter()
    model.store.begin_step(step)
    loss().backward()  # type: ignore[no-untyped-call]
    model.store.end_step()
    model.zero_grad()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
