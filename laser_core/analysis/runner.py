"""Carries out an analysis: looks at a checkpoint's model and its controls, trains on beside a tracker, and answers claims.

The controls: ``initial`` has the training run's weights before its first step; ``untied`` has at every recursion step blocks
of its own, freshly drawn, so nothing is learnt and nothing recurs; a Gaussian cloud of the same covariance stands beside
every intrinsic dimension.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from laser_core.analysis.angles import Turning, turning
from laser_core.analysis.look import LEVEL, Look, look
from laser_core.analysis.recording import Observations, looked_at, observe
from laser_core.analysis.tracking import Followed, follow
from laser_core.analysis.verdicts import Verdict, effectively_linear, low_dimensional, trackable, varied
from laser_core.checkpoint import Checkpoint
from laser_core.config import AnalysisConfig, ConfigError, NoneStore, Problem, TrainConfig, parse_run, to_json
from laser_core.device import choose_device, device_name, environment, versions
from laser_core.evaluate import load_model
from laser_core.events import Event, FileSaved, Log, Metrics, Progress, Result, Started
from laser_core.model import TRM
from laser_core.tasks import Puzzles, PuzzleTask, prepare
from laser_core.tracker import Policy
from laser_core.train import Trainer

Report = dict[str, Any]
Save = Callable[[Report], FileSaved]
FORMAT = 1


def analyse(
    config: AnalysisConfig,
    checkpoint: Checkpoint,
    others: Sequence[Checkpoint] = (),
    *,
    files: Mapping[str, Path],
    save: Save,
) -> Iterator[Event]:
    """Started, then Spectra of every model, Metrics over recursion and training steps, the saved report, Result.

    ``others``: more checkpoints of the same run, to compare with. The Result's notes hold the verdicts as JSON.
    Raises ConfigError where the puzzles don't suit the checkpoint's model, or there are none to look at or to train on.
    """
    subject = yield from _subject(config, checkpoint, files)
    models = list(_models(subject, others))
    total = len(models) * len(subject.puzzles) + config.tracking_steps
    yield Started(
        0, total, device_name(subject.device), _parameters(models[0].model), versions(), environment(subject.device)
    )
    looks: dict[str, Look] = {}
    for index, named in enumerate(models):
        seen = yield from _observed(subject, named, index * len(subject.puzzles), total)
        looks[named.name] = look(named.name, named.step, seen, config.dimension_points, config.seed)
        yield from looks[named.name].spectra
    yield from _curves(looks["trained"])
    followed = yield from _followed(subject, total)
    verdicts = judge(looks["trained"], followed)
    values = _values(verdicts, looks)
    yield save(_report(subject, looks, followed, verdicts))
    yield Result(values, notes={"verdicts": json.dumps([asdict(verdict) for verdict in verdicts])})


def judge(trained: Look, followed: Mapping[str, Followed]) -> list[Verdict]:
    """The verdicts on claims 1 to 3."""
    tracked, exact, frozen = (
        {site: statistics.fmean(_known(of)) for site, seen in followed.items() if _known(of := getattr(seen, name))}
        for name in ("tracked", "exact", "frozen")
    )
    shares = trained.rank_shares()
    return [
        low_dimensional(shares),
        effectively_linear(trained.flatness()),
        *trackable(tracked, exact, frozen, len(followed)),
        *varied(shares),
    ]


# --- what is looked at


@dataclass(frozen=True)
class _Subject:
    """The checkpoint, its training run, and the puzzles it is looked at on."""

    config: AnalysisConfig
    checkpoint: Checkpoint
    trained: TrainConfig
    task: PuzzleTask
    puzzles: Puzzles
    device: Any


@dataclass(frozen=True)
class _Named:
    name: str
    step: int
    model: TRM
    untied: Sequence[TRM] = ()


def _subject(
    config: AnalysisConfig, checkpoint: Checkpoint, files: Mapping[str, Path]
) -> Generator[Log, None, _Subject]:
    trained = parse_run(checkpoint.state["config"])
    assert isinstance(trained, TrainConfig)
    device = choose_device(config.device)
    task = yield from prepare(config.task or trained.task, files)
    puzzles = task.train if config.split == "train" else task.test
    if not len(puzzles):
        message = f"the task has no {config.split} puzzles; name a dataset in task.{config.split}"
        raise ConfigError(Problem("split", message))
    if config.tracking_steps and not len(task.train):
        message = "needs training puzzles to train on; name a dataset in task.train, or set it to 0"
        raise ConfigError(Problem("tracking_steps", message))
    cells = checkpoint.training["carry.inputs"].shape[1]
    if config.tracking_steps and cells != task.seq_len:
        message = f"training goes on only on puzzles of {cells} cells, not {task.seq_len}; set it to 0"
        raise ConfigError(Problem("tracking_steps", message))
    return _Subject(config, checkpoint, trained, task, puzzles[: config.max_puzzles or len(puzzles)], device)


def _models(subject: _Subject, others: Sequence[Checkpoint]) -> Iterator[_Named]:
    config, trained, task = subject.config, subject.trained, subject.task

    def loaded(checkpoint: Checkpoint) -> TRM:
        return load_model(trained, task, checkpoint, config.weights).to(subject.device)

    yield _Named("trained", subject.checkpoint.step, loaded(subject.checkpoint))
    if config.controls:
        first = initial_model(subject, trained.seed)
        steps = trained.model.latent_steps + 1
        untied = [initial_model(subject, _other_seed(trained.seed, config.seed, index)) for index in range(steps)]
        yield _Named("initial", 0, first)
        yield _Named("untied", 0, first, untied)
    for checkpoint in others if config.other_checkpoints else ():
        is_known = checkpoint.step == subject.checkpoint.step or (config.controls and checkpoint.step == 0)
        if not is_known:
            yield _Named(f"step-{checkpoint.step:08d}", checkpoint.step, loaded(checkpoint))


def initial_model(subject: _Subject, seed: int) -> TRM:
    """The model of the training run before its first step, if it had ``seed``."""
    trained = dataclasses.replace(subject.trained, seed=seed, store=NoneStore())
    return Trainer(trained, subject.task, subject.device).averaged_model()


def _other_seed(trained: int, seed: int, index: int) -> int:
    return (trained + 1_000_003 * (seed + 1) + index) % 2**31


def _observed(subject: _Subject, named: _Named, done: int, total: int) -> Generator[Event, None, Observations]:
    config = subject.config
    observing = observe(
        named.model, subject.puzzles, config.batch_size, config.supervision_steps, config.dimension_points, config.seed,
        named.untied,
    )  # fmt: skip
    while True:
        try:
            yield Progress(done + next(observing), total, 0.0)
        except StopIteration as end:
            seen: Observations = end.value
            return seen


def _followed(subject: _Subject, total: int) -> Generator[Event, None, dict[str, Followed]]:
    """Goes on training from the checkpoint, with every activation kept, beside a tracker with the stores' usual policy."""
    if not subject.config.tracking_steps:
        return {}
    trainer = Trainer(dataclasses.replace(subject.trained, store=NoneStore()), subject.task, subject.device)
    if subject.checkpoint.step:
        kept = {name: x for name, x in subject.checkpoint.training.items() if not name.startswith("store.")}
        state = subject.checkpoint.state | {"store": {}}
        trainer.restore(dataclasses.replace(subject.checkpoint, training=kept, state=state))
    following = follow(trainer, subject.config.tracking_steps, Policy())
    while True:
        try:
            ratios = next(following)
        except StopIteration as end:
            followed: dict[str, Followed] = end.value
            return followed
        if ratios.tracked is not None and ratios.frozen is not None:
            yield Metrics(
                ratios.step, {"tracking.energy_ratio": ratios.tracked, "tracking.frozen_ratio": ratios.frozen}
            )
        yield Progress(total - subject.config.tracking_steps + ratios.step, total, 0.0)


# --- what is told


def _curves(trained: Look) -> Iterator[Metrics]:
    """Rank over width at LEVEL, and intrinsic dimension, of every site over recursion steps at the last supervision step."""
    last = max(spectrum.supervision_step for spectrum in trained.spectra)
    for spectrum in trained.spectra:
        if spectrum.supervision_step == last and spectrum.recursion_step:
            values = {f"rank_share.{spectrum.site}": spectrum.ranks[LEVEL] / spectrum.width}
            if spectrum.intrinsic_dimension is not None:
                values[f"dimension.{spectrum.site}"] = spectrum.intrinsic_dimension
            yield Metrics(spectrum.recursion_step, values)


def _values(verdicts: Sequence[Verdict], looks: Mapping[str, Look]) -> dict[str, float]:
    values = {f"claim_{verdict.claim}": verdict.value for verdict in verdicts if verdict.value is not None}
    for name, one in looks.items():
        values[f"median_rank_share.{name}"] = statistics.median(one.rank_shares().values())
        if one.flatness():
            values[f"median_flatness.{name}"] = statistics.median(one.flatness().values())
    return values


def _report(
    subject: _Subject, looks: Mapping[str, Look], followed: Mapping[str, Followed], verdicts: Sequence[Verdict]
) -> Report:
    trained = looks["trained"]
    return {
        "format": FORMAT,
        "config": to_json(subject.config),
        "trained": to_json(subject.trained),
        "step": subject.checkpoint.step,
        "supervision_steps": looked_at(subject.config.supervision_steps),
        "puzzles": len(subject.puzzles),
        "verdicts": [asdict(verdict) for verdict in verdicts],
        "spectra": [asdict(spectrum) for one in looks.values() for spectrum in one.spectra],
        "angles": {name: {site: asdict(angles) for site, angles in one.angles.items()} for name, one in looks.items()},
        "drift": {
            name: {site: asdict(turned) for site, turned in between(trained, one).items()}
            for name, one in looks.items()
            if name not in ("trained", "untied")
        },
        "tracking": {site: asdict(seen) for site, seen in followed.items()},
    }


def between(trained: Look, other: Look) -> dict[str, Turning]:
    """The angles between two training steps of one run, at the rank of ``trained`` or the other's where that is less."""
    turned = {}
    for site, basis_DK in trained.bases.items():
        rank = min(basis_DK.shape[1], other.bases[site].shape[1])
        turned[site] = turning([basis_DK[:, :rank], other.bases[site][:, :rank]])
    return turned


def _parameters(model: TRM) -> int:
    return sum(weight.numel() for weight in model.parameters())


def _known(ratios: Sequence[float | None]) -> list[float]:
    return [ratio for ratio in ratios if ratio is not None]
