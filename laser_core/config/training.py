"""How weights move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from laser_core.schema import Checked, option

Precision = Literal["float32", "bfloat16"]
Compile = Literal["off", "auto", "on"]


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
    precision: Precision = option(
        "float32",
        "Of matrix products and attention; bfloat16 is autocast, with weights, norms and loss kept wider. "
        "It is meant for GPUs: on a CPU without bfloat16 instructions it is slower.",
    )
    compile: Compile = option(
        "off",
        "torch.compile for the store none: auto where a compiler is, on fails where none is. Steps are quicker after a "
        "minute or so of compiling, and equal the plain ones to rounding, not to the bit.",
    )
