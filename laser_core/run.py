"""Carries out any run: picks up where a checkpoint left off, saves what the run yields, tells what happens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch

from laser_core.analysis.runner import Report, analyse
from laser_core.checkpoint import Checkpoint, CheckpointError, latest, load, save
from laser_core.config import (
    AnalysisConfig,
    ConfigError,
    EvalConfig,
    InspectConfig,
    Problem,
    RunConfig,
    TrainConfig,
    input_names,
    parse_run,
)  # fmt: skip
from laser_core.distributed import joined, leads, size
from laser_core.evaluate import evaluate
from laser_core.events import Event, FileSaved, Log, Snapshot
from laser_core.inspection import FILE as INSPECTION
from laser_core.player import inspect
from laser_core.train import never, train

CHECKPOINTS = "checkpoints"
ANALYSIS = "analysis.json"


def execute(
    config: RunConfig,
    directory: Path,
    *,
    resume: str | None = None,
    files: Mapping[str, Path] | None = None,
    checkpoint: Path | None = None,
    threads: int | None = None,
    wants_pause: Callable[[], bool] = never,
) -> Iterator[Event]:
    """The events of a run, with a CheckpointSaved (under ``directory/checkpoints``) for every Snapshot.

    ``resume``: the checkpoint's folder name to go on from; where it is damaged or gone the newest whole one before it is
    taken, never a later one, so that no event is missing. ``files``: a path for each of ``config.input_names``, and for a
    run that looks at a checkpoint without a task of its own those of the checkpoint's. ``checkpoint``: what it looks at,
    a checkpoint's folder or a run's. ``threads``: of torch on the CPU. When ``wants_pause`` says so a training run ends after
    the step at hand with a checkpoint and without a Result. Started by torchrun, the processes train together, and the
    first alone saves; the others' events are for nobody.

    Raises ConfigError naming the field of what can't be run, OSError where a checkpoint can't be written, and
    FloatingPointError when training diverges; the checkpoints before are whole in every case.
    """
    if threads:
        torch.set_num_threads(threads)
    with joined():
        if isinstance(config, TrainConfig):
            yield from _trained(config, directory, resume, files or {}, wants_pause)
        elif size() > 1:
            raise ConfigError(Problem("kind", f"only training is shared by several processes, not {config.kind}"))
        else:
            yield from _looked_at(config, directory, checkpoint or Path(config.checkpoint), files or {})


def _trained(
    config: TrainConfig,
    directory: Path,
    resume: str | None,
    files: Mapping[str, Path],
    wants_pause: Callable[[], bool],
) -> Iterator[Event]:
    start = None
    if resume is not None:
        start = latest(directory / CHECKPOINTS, up_to=resume)
        if start is None or f"step-{start.step:08d}" != resume:
            going_on = f"going on from step {start.step}" if start else "starting anew"
            yield Log(f"checkpoint {resume} is damaged or gone; {going_on}", "warning")
    for event in train(config, start, files=files, wants_pause=wants_pause):
        if not isinstance(event, Snapshot):
            yield event
        elif leads():
            yield save(event, directory / CHECKPOINTS)


def _looked_at(
    config: EvalConfig | AnalysisConfig | InspectConfig, directory: Path, path: Path, files: Mapping[str, Path]
) -> Iterator[Event]:
    found = find_checkpoint(path)
    if isinstance(config, AnalysisConfig):
        others = other_checkpoints(path, found) if config.other_checkpoints else []
        yield from analyse(config, found, others, files=files, save=lambda report: _saved(report, directory / ANALYSIS))
    elif isinstance(config, InspectConfig):
        yield from inspect(config, found, files=files, save=lambda report: _saved(report, directory / INSPECTION))
    else:
        yield from evaluate(config, found, files=files)


def find_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in ``path``, or the newest whole one of the run whose directory ``path`` is.

    Raises ConfigError on ``checkpoint`` where there is none.
    """
    try:
        if (path / "manifest.json").exists():
            return load(path)
    except CheckpointError as error:
        raise ConfigError(Problem("checkpoint", str(error))) from error
    found = latest(path / CHECKPOINTS)
    if found is None:
        raise ConfigError(
            Problem("checkpoint", f"{path} holds no whole checkpoint; name a run's directory or a checkpoint's")
        )
    return found


def other_checkpoints(path: Path, found: Checkpoint) -> list[Checkpoint]:
    """The whole checkpoints of the same run beside the one ``found`` in ``path``, oldest first."""
    parent = path.parent if (path / "manifest.json").exists() else path / CHECKPOINTS
    others = []
    for folder in sorted(parent.glob("step-????????")):
        try:
            others.append(load(folder))
        except CheckpointError:
            continue
    config = found.state["config"]
    return [other for other in others if other.step != found.step and other.state["config"] == config]


def inputs(config: RunConfig) -> tuple[str, ...]:
    """Datasets that an offline run reads: its own, or those of the checkpoint that it looks at."""
    if isinstance(config, TrainConfig) or config.task is not None:
        return input_names(config)
    return input_names(parse_run(find_checkpoint(Path(config.checkpoint)).state["config"]))


def newest(directory: Path) -> str | None:
    """Folder name of the newest checkpoint in a run's directory, whole or not; None without any."""
    return max((folder.name for folder in (directory / CHECKPOINTS).glob("step-????????")), default=None)


def _saved(report: Report, path: Path) -> FileSaved:
    """Writes what a run reports to a file in its directory."""
    content = json.dumps(report, allow_nan=False).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return FileSaved(path.name, hashlib.sha256(content).hexdigest(), len(content))
