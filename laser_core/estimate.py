"""What a training run needs of its device's memory, from its configuration alone: torch is never loaded.

A guess for placing runs that haven't started; measured peaks replace it. It is eager training's, whatever the store: a run
holds its activations in full once, when its first step measures what eager training would hold. Float32.
"""

from __future__ import annotations

import math

from laser_core.config import MazeTask, ModelConfig, SudokuTask, TrainConfig

FLOAT, DOUBLE, INT64 = 4, 8, 8  # bytes
SPARE = 1.1  # autograd names the weights too, and what is forgotten here
STATES = 5  # weight, gradient, two moments and average, each as large as the weights
CELLS, VOCABULARY = 900, 12  # where the task doesn't tell: a grid of 30 by 30


def start_bytes(config: TrainConfig, cells: int = 0) -> int:
    """Bytes at the start of a run; ``cells`` per puzzle where its files tell, else its task's own."""
    vocabulary = VOCABULARY
    if isinstance(config.task, SudokuTask | MazeTask):
        cells, vocabulary = config.task.size**2, config.task.size + 2 if config.task.kind == "sudoku" else 6
    cells = cells or CELLS
    model, batch = config.model, config.training.batch_size
    positions = cells + (model.puzzle_positions or math.ceil(model.puzzle_embedding / model.width))
    held = _saved(model, positions, batch)
    held += batch * cells * (4 * vocabulary * DOUBLE + DOUBLE + 3 * INT64)  # the loss, and what is read
    held += batch * positions * model.width * FLOAT  # the answer, for the head
    return int(SPARE * (held + STATES * FLOAT * parameters(model, positions, vocabulary)))


def parameters(model: ModelConfig, positions: int, vocabulary: int) -> int:
    """Weights of the model."""
    width, inner = model.width, swiglu_width(model.width, model.expansion)
    mixing = 4 * width**2
    if model.block == "mlp":
        mixing = 3 * positions * swiglu_width(positions, model.expansion)
    learned = positions * width if model.positions == "learned" else 0
    return model.layers * (mixing + 3 * width * inner) + 2 * vocabulary * width + 2 * width + 2 + learned


def swiglu_width(width: int, expansion: float) -> int:
    """Width between the two projections of a SwiGLU (as ``layers.swiglu_width``, which loads torch)."""
    return 256 * math.ceil(round(expansion * width * 2 / 3) / 256)


def _saved(model: ModelConfig, positions: int, batch: int) -> int:
    """What autograd keeps of one supervision step's last cycle, whose calls alone carry gradient."""
    width, rows = model.width, batch * positions
    if model.block == "attention":  # the input; queries, keys, values, output, log-sum-exp; the norm
        mixing = rows * ((6 if model.positions == "rope" else 4) * width + model.heads + 2 * width + 1)
    else:
        mixing = _swiglu(batch * width, positions, model.expansion)
    per_call = model.layers * (mixing + _swiglu(rows, width, model.expansion))
    return (model.latent_steps + 1) * per_call * FLOAT


def _swiglu(rows: int, width: int, expansion: float) -> int:
    """Numbers kept: the input; gate, up, silu(gate) and their product; the norm."""
    return rows * (width + 4 * swiglu_width(width, expansion) + width + 1)
