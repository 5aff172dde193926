"""Bytes held by deeper recursions, in fractions of what eager training of the shallowest holds."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from laser_core.bench.scales import Block, Scale
from laser_core.bench.subject import Tell, result
from laser_core.config import CheckpointStore, Device, LaserCodedStore, Store
from laser_core.stores import make_store
from laser_core.tasks import prepare
from laser_core.train import Trainer

TENTHS = 10


def depths(scale: Scale, block: Block, steps: int, device: torch.device, tell: Tell) -> list[dict[str, Any]]:
    """Trains ``steps`` steps from the start with ``laser-coded`` at each depth; a row for it, for eager and for checkpoint."""
    rows: list[dict[str, Any]] = []
    for latent_steps in scale.depths:
        trained = _trained(scale, block, latent_steps, steps, device, tell)
        rows += [{"block": block, "latent_steps": latent_steps, "cycles": scale.model.cycles} | row for row in trained]
    base = next(row["saved_bytes"] for row in rows if row["store"] == "eager")
    return [row | {"of_shallowest_eager": row["saved_bytes"] / base} for row in rows]


def _trained(
    scale: Scale, block: Block, latent_steps: int, steps: int, device: torch.device, tell: Tell
) -> list[dict[str, Any]]:
    name: Device = "cuda" if device.type == "cuda" else "cpu"
    config = dataclasses.replace(scale.run(block, latent_steps, name), store=LaserCodedStore())
    trainer = Trainer(config, result(prepare(config.task, {})), device)
    losses = []
    for step in range(1, steps + 1):
        trainer.train_step()
        tell(f"{block}, n={latent_steps}: depth, step {step} of {steps}")
        if step % max(1, steps // TENTHS) == 0:
            losses.append(trainer.window_metrics().values["train.loss"])
    held = trainer.measure_memory()
    coded = {"store": "laser-coded", "saved_bytes": held.saved_bytes, "steps": steps, "losses": losses}
    store: Store = CheckpointStore()
    trainer.store = trainer.model.store = make_store(store)
    return [
        {"store": "eager", "saved_bytes": held.eager_bytes},
        {"store": "checkpoint", "saved_bytes": trainer.measure_memory().saved_bytes},
        coded,
    ]
