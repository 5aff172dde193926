"""How weights move: the learning rate's schedule, AdamW, the averaged weights, and sign-SGD for puzzle embeddings.

Numerics are the official TRM trainer's, with AdamW in the place of its AdamATan2.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from laser_core.config import TrainingConfig

if TYPE_CHECKING:
    from jaxtyping import Float, Int

COSINE_FLOOR = 0.1  # share of the learning rate that the cosine ends on


def rate_factor(config: TrainingConfig, step: int) -> float:
    """What the learning rates are multiplied by at ``step``, counted from 1: a linear rise, then constant or cosine."""
    if step < config.warmup_steps:
        return step / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return COSINE_FLOOR + (1 - COSINE_FLOOR) * 0.5 * (1 + math.cos(math.pi * progress))


def adamw(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW over every weight; its rate is set anew at each step."""
    return torch.optim.AdamW(
        model.parameters(),
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        weight_decay=config.weight_decay,
        fused=True,  # one kernel for all weights: on small models the unfused step costs more than it computes
    )


@torch.no_grad()
def average(averaged: nn.Module, model: nn.Module, decay: float) -> None:
    """averaged ← decay · averaged + (1 - decay) · model, for every weight."""
    get_ema_multi_avg_fn(decay)(list(averaged.parameters()), list(model.parameters()), None)  # type: ignore[no-untyped-call]


@torch.no_grad()
def sign_sgd(
    table_PE: Float[Tensor, "P E"],
    puzzles_B: Int[Tensor, "B"],
    gradient_BE: Float[Tensor, "B E"],
    rate: float,
    weight_decay: float,
) -> None:
    """Moves the rows of ``table_PE`` that the batch used by the sign of their summed gradient, after decoupled decay."""
    # Equal puzzles share a slot, found by sorting: torch.unique would make the host wait for a GPU.
    sorted_B, order_B = puzzles_B.sort(stable=True)
    slots_B = (sorted_B.diff(prepend=sorted_B[:1]) != 0).cumsum(0)
    slot_of_B = torch.empty_like(order_B).scatter_(0, order_B, slots_B)
    summed_BE = torch.zeros_like(gradient_BE).index_add_(0, slot_of_B, gradient_BE)[slot_of_B]
    table_PE[puzzles_B] = table_PE[puzzles_B].mul_(1 - rate * weight_decay).sub_(summed_BE.sign(), alpha=rate)


def optimiser_tensors(optimiser: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """The optimiser's state by name: ``<weight>.exp_avg``, ``<weight>.exp_avg_sq`` and ``<weight>.step``; none before its
    first step."""
    return {
        f"{name}.{key}": value
        for name, weight in model.named_parameters()
        for key, value in optimiser.state[weight].items()
    }


def load_optimiser_tensors(optimiser: torch.optim.Optimizer, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Takes up where ``optimiser_tensors`` left off."""
    if not tensors:
        return
    for name, weight in model.named_parameters():
        for key in ("exp_avg", "exp_avg_sq", "step"):
            optimiser.state[weight][key] = tensors[f"{name}.{key}"].to(weight.device, copy=True)
