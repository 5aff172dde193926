"""Checkpoints of the official TRM code: into ours, and ours into its names.

Only safetensors files are read. The official ``.pt`` files are pickles, which can run anything when opened.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from laser_core.checkpoint import save
from laser_core.config import (
    ConfigError,
    CsvTask,
    MazeTask,
    NoneStore,
    Problem,
    SudokuTask,
    Task,
    TrainConfig,
    TrainingConfig,
    parse_run,
    to_json,
)  # fmt: skip
from laser_core.events import Snapshot
from laser_core.maze import VOCAB_SIZE as MAZE_VOCAB_SIZE
from laser_core.parity import load_weights, official_config, official_name, our_name, read_config
from laser_core.run import CHECKPOINTS, find_checkpoint

_PICKLES = (b"PK\x03\x04", b"\x80")  # how torch's files begin, new and old
_CONVERT = (
    'python -c "import torch, safetensors.torch as s; s.save_file({{k: v.clone().contiguous() for k, v in '
    "torch.load('{0}', map_location='cpu', weights_only=True).items()}}, '{0}.safetensors')\""
)


def import_official(weights: Path, config: Path, out: Path, task: Path | None = None) -> Path:
    """Makes the run directory ``out`` with one checkpoint (at step 0) of the official ``weights``; returns its folder.

    The official model's ``config`` is a JSON file with ``vocab_size``, ``seq_len`` and ``num_puzzle_identifiers`` too.
    ``task``: what it was trained on, as JSON; told from the sizes where not given. The checkpoint is to be evaluated;
    training can't go on from it, since the optimiser's state isn't there. Raises ConfigError.
    """
    if (out / CHECKPOINTS).exists():
        raise ConfigError(Problem("--out", f"{out} already holds a run; choose another directory"))
    tensors = _tensors(weights)
    try:
        official = dict(read_config(config)) | {"forward_dtype": "float32"}  # what weights are stored in; ours runs so
        ours = {our_name(_below_wrappers(name)): tensor for name, tensor in tensors.items()}
        model = load_weights(official, ours, NoneStore(), "weights file")
    except ValueError as error:
        raise ConfigError(Problem(f"{weights.name}, {config.name}", str(error))) from error
    run = TrainConfig(
        name=f"official {weights.stem}"[:120],
        task=_task(task) if task else _told_task(model.vocab_size, model.seq_len),
        model=model.config,
        training=TrainingConfig(supervision_steps=official.get("halt_max_steps", 16)),
    )
    state = {"config": to_json(run), "source": weights.name}
    saved = save(Snapshot(0, {f"raw.{name}": x for name, x in ours.items()}, {}, state), out / CHECKPOINTS)
    return out / CHECKPOINTS / saved.name


def export_official(checkpoint: Path, out: Path, weights: Literal["ema", "raw"] = "ema") -> Path:
    """Writes a checkpoint (its folder, or a run's directory) to the safetensors file ``out`` under the official names.

    Returns the JSON file beside it with the official configuration. Raises ConfigError where there is no checkpoint.
    """
    found = find_checkpoint(checkpoint)
    run = parse_run(found.state["config"])
    assert isinstance(run, TrainConfig)
    ours = {name.removeprefix("raw."): x for name, x in found.model.items() if name.startswith("raw.")}
    if weights == "ema":
        ours |= {name.removeprefix("ema."): x for name, x in found.model.items() if name.startswith("ema.")}
    config = official_config(run.model) | {
        "vocab_size": len(ours["lm_head.weight"]),
        "seq_len": _seq_len(run.task, found.training),
        "num_puzzle_identifiers": len(ours["puzzle_table"]) if "puzzle_table" in ours else 1,
        "halt_max_steps": run.training.supervision_steps,
        "halt_exploration_prob": run.training.halt_exploration,
        "H_layers": 0,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file({official_name(name, run.model): x.contiguous() for name, x in ours.items()}, out)
    beside = out.with_suffix(".json")
    beside.write_text(json.dumps({"config": config}, indent=1) + "\n")
    return beside


def _tensors(path: Path) -> dict[str, Tensor]:
    field = str(path)
    try:
        with path.open("rb") as file:
            if file.read(4).startswith(_PICKLES):
                message = "is a pickle, which can run anything when opened, so it isn't; convert it where you trust it"
                raise ConfigError(Problem(field, f"{message}: {_CONVERT.format(path.name)}"))
        return load_file(path)
    except OSError as error:
        raise ConfigError(Problem(field, f"can't be read: {error.strerror}")) from error
    except SafetensorError as error:
        raise ConfigError(Problem(field, f"isn't a safetensors file: {error}")) from error


def _below_wrappers(name: str) -> str:
    """Without what the compiler and the loss head put before ``inner.``."""
    return name[name.index("inner.") :] if "inner." in name else name


def _told_task(vocab_size: int, seq_len: int) -> Task:
    """The generated task of these sizes, to evaluate on unless told another."""
    size = math.isqrt(seq_len)
    if size * size == seq_len:
        if size in (4, 6, 9) and vocab_size == size + 2:
            return SudokuTask(size=size)  # type: ignore[arg-type]
        if vocab_size == MAZE_VOCAB_SIZE and 5 <= size <= 40:
            return MazeTask(size=size)
    message = f"can't be told from {vocab_size} tokens and {seq_len} cells; name a JSON file with the run's task"
    raise ConfigError(Problem("--task", message))


def _task(path: Path) -> Task:
    try:
        run = parse_run({"kind": "train", "task": json.loads(path.read_text(encoding="utf-8"))})
    except OSError as error:
        raise ConfigError(Problem("--task", f"{path} can't be read: {error.strerror}")) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(Problem("--task", f"{path} isn't JSON: {error}")) from error
    assert isinstance(run, TrainConfig)
    return run.task


def _seq_len(task: Task, training: Mapping[str, Any]) -> int:
    if "carry.inputs" in training:
        return int(training["carry.inputs"].shape[1])
    if isinstance(task, CsvTask):
        raise ConfigError(
            Problem("checkpoint", "an imported checkpoint of CSV puzzles doesn't tell its number of cells")
        )
    return task.size * task.size
