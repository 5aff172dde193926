"""Bytes held by deeper recursions, in fractions of what eager training of the shallowest holds."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from laser_core.bench.scales import AS_IT_COMES, CHECKPOINT, REUSING, Block, Scale
from laser_core.bench.subject import Tell, result
from laser_core.config import Device, Store
from laser_core.stores import make_store
from laser_core.tasks import prepare
from laser_core.train import Trainer

TENTHS = 10


def depths(scale: Scale, block: Block, steps: int, device: torch.device, tell: Tell) -> list[dict[str, Any]]:
    """Trains ``steps`` steps from the start with ``laser-coded``, as it comes and with ``reuse``, at each depth; rows of these,
    of eager and of checkpoint."""
    rows: list[dict[str, Any]] = []
    for latent_steps in scale.depths:
        place = {"block": block, "latent_steps": latent_steps, "cycles": scale.model.cycles}
        for compared in (AS_IT_COMES, REUSING):
            trainer, losses = _trained(scale, block, latent_steps, compared.store, steps, device, tell)
            held = trainer.measure_memory()
            if compared == AS_IT_COMES:
                trainer.store = trainer.model.store = make_store(CHECKPOINT.store)
                checkpoint = trainer.measure_memory().saved_bytes
                rows.append(place | {"store": "eager", "setting": "none", "saved_bytes": held.eager_bytes})
                rows.append(place | {"store": "checkpoint", "setting": "block", "saved_bytes": checkpoint})
            of = {"store": compared.name, "setting": compared.setting, "saved_bytes": held.saved_bytes}
            rows.append(place | of | {"steps": steps, "losses": losses})
    base = next(row["saved_bytes"] for row in rows if row["store"] == "eager")
    return [row | {"of_shallowest_eager": row["saved_bytes"] / base} for row in rows]


def _trained(
    scale: Scale, block: Block, latent_steps: int, store: Store, steps: int, device: torch.device, tell: Tell
) -> tuple[Trainer, list[float]]:
    """The trainer after so many steps, and its loss over each tenth of them."""
    name: Device = "cuda" if device.type == "cuda" else "cpu"
    config = dataclasses.replace(scale.run(block, latent_steps, name), store=store)
    trainer = Trainer(config, result(prepare(config.task, {})), device)
    losses = []
    for step in range(1, steps + 1):
        trainer.train_step()
        tell(f"{block}, n={latent_steps}: depth, step {step} of {steps}")
        if step % max(1, steps // TENTHS) == 0:
            losses.append(trainer.window_metrics().values["train.loss"])
    return trainer, losses
