"""What a training run needs of its device's memory, from its configuration alone: torch is never loaded.

A guess for placing runs that haven't started; measured peaks replace it. It is of the first step, when stores that code
activations have no bases yet: the fused ones hold what flows between sublayers in full, others as much as eager training.
Float32.
"""

from __future__ import annotations

import dataclasses
import math

from laser_core.config import LaserCodedStore, LaserFusedStore, MazeTask, ModelConfig, SudokuTask, TrainConfig

FLOAT, DOUBLE, INT64 = 4, 8, 8  # bytes
SPARE = 1.1
STATES = 6  # weight (autograd keeps it once more), gradient, two moments and average, each as large as the weights
CELLS, VOCABULARY = 900, 12  # where the task doesn't tell: a grid of 30 by 30


def start_bytes(config: TrainConfig, cells: int = 0, processes: int = 1) -> int:
    """Bytes at the start of a run, of each of the ``processes`` that share its batches; ``cells`` per puzzle where its files
    tell, else its task's own."""
    rows = config.training.batch_size // processes
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, batch_size=rows))
    cells, vocabulary = _sizes(config, cells)
    is_fused = isinstance(config.store, LaserFusedStore | LaserCodedStore)
    states = STATES * FLOAT * parameters(config.model, _positions(config.model, cells), vocabulary)
    return int(SPARE * (_held(config, cells, vocabulary, is_fused) + states))


def eager_bytes(config: TrainConfig, cells: int) -> int:
    """Bytes that eager training holds between forward and backward."""
    return _held(config, *_sizes(config, cells), is_fused=False)


def _sizes(config: TrainConfig, cells: int) -> tuple[int, int]:
    """(cells, vocabulary)."""
    task = config.task
    if isinstance(task, SudokuTask | MazeTask):
        return task.size**2, task.size + 2 if isinstance(task, SudokuTask) else 6
    return cells or CELLS, VOCABULARY


def _positions(model: ModelConfig, cells: int) -> int:
    return cells + (model.puzzle_positions or math.ceil(model.puzzle_embedding / model.width))


def _held(config: TrainConfig, cells: int, vocabulary: int, is_fused: bool) -> int:
    model, batch = config.model, config.training.batch_size
    positions = _positions(model, cells)
    held = _packs(model, positions * batch) if is_fused else _saved(model, positions, batch)
    held += batch * cells * (4 * vocabulary * DOUBLE + DOUBLE + 3 * INT64)  # the loss, and what is read
    return held + batch * positions * model.width * FLOAT  # the answer, for the head


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


def _packs(model: ModelConfig, rows: int) -> int:
    """What the fused stores keep of it: a block's input and middle, the last output, and the inverse norms."""
    return (model.latent_steps + 1) * rows * ((2 * model.layers + 1) * model.width + 2 * model.layers) * FLOAT


def _swiglu(rows: int, width: int, expansion: float) -> int:
    """Numbers kept: the input; gate, up, silu(gate) and their product; the norm."""
    return rows * (width + 4 * swiglu_width(width, expansion) + width + 1)
