"""What an experiment will take, before it starts: from runs that were made, the most alike first.

Runs of the same task, model, store, batch and precision tell bytes and step time as they were measured. Failing these, runs
of the same store and block tell them scaled: bytes with what flows through the recursion's last cycle, time with the products
of all cycles. Where there are none either, nothing is known and None says so.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from laser_core.config import ExperimentConfig, MazeTask, SudokuTask, TrainConfig, parse_run, plan
from laser_core.estimate import start_bytes
from laser_core.schema import ConfigError, to_json
from store.compare import value_of
from store.database import read
from store.runs import Run, load
from store.states import State
from store.tables import runs
from store.workers import list_workers

LOOKED_AT = 500  # newest finished training runs

Basis = Literal["runs alike", "scaled from others", "not known"]


@dataclass(frozen=True)
class GroupEstimate:
    """One run of a group: what it asks of its device's memory at its start, by its configuration alone; activation bytes held,
    seconds a step, seconds in all; None where nothing is known of these."""

    variant: str
    point: str
    runs: int
    basis: Basis
    start_bytes: int
    saved_bytes: float | None
    step_time_s: float | None
    run_s: float | None


@dataclass(frozen=True)
class ExperimentEstimate:
    """``most_saved_bytes`` is the largest group's; ``duration_s`` is for all runs on the slots of workers that take runs now,
    were they idle; None where a group isn't known or there is none."""

    runs: int
    groups: list[GroupEstimate]
    slots: int
    most_saved_bytes: float | None
    work_s: float | None
    duration_s: float | None


def estimate(engine: sa.Engine, config: ExperimentConfig, now: float | None = None) -> ExperimentEstimate:
    """Raises ConfigError for what no run can be made of."""
    planned = plan(config)
    with read(engine) as connection:
        known = _Known(_finished(connection))
    slots = sum(worker.slots for worker in list_workers(engine, now=now) if worker.is_taking)
    by_group: dict[tuple[str, str], list[TrainConfig]] = {}
    for each in planned:
        by_group.setdefault((each.variant, each.point), []).append(each.config)
    groups = [known.group(variant, point, configs) for (variant, point), configs in by_group.items()]
    sizes = [group.saved_bytes for group in groups if group.saved_bytes is not None]
    times = [group.run_s * group.runs for group in groups if group.run_s is not None]
    work_s = sum(times) if len(times) == len(groups) else None
    return ExperimentEstimate(
        runs=len(planned),
        groups=groups,
        slots=slots,
        most_saved_bytes=max(sizes) if len(sizes) == len(groups) else None,
        work_s=work_s,
        duration_s=work_s / min(slots, len(planned)) if slots and work_s is not None else None,
    )


class _Known:
    """Medians of what finished runs took."""

    def __init__(self, finished: Iterable[Run]) -> None:
        self.alike: dict[str, list[Run]] = {}
        self.scalable: dict[tuple[str, str], list[tuple[Run, TrainConfig]]] = {}
        for run in finished:
            try:
                config = parse_run(run.config)
            except ConfigError:  # of an older version
                continue
            assert isinstance(config, TrainConfig)
            self.alike.setdefault(_key(config), []).append(run)
            self.scalable.setdefault((config.store.kind, config.model.block), []).append((run, config))

    def group(self, variant: str, point: str, configs: list[TrainConfig]) -> GroupEstimate:
        config = configs[0]
        alike, others = self.alike.get(_key(config), []), self.scalable.get((config.store.kind, config.model.block), [])
        basis: Basis = "runs alike" if alike else "not known"
        saved, time = _median(alike, "saved_bytes"), _median(alike, "step_time_s")
        if not alike and (size := _flow(config)) and others:
            ratios = [(run, size / flow, _work(config) / _work(of)) for run, of in others if (flow := _flow(of))]
            saved = _middle(v * bytes_ratio for run, bytes_ratio, _ in ratios if (v := value_of(run, "saved_bytes")))
            time = _middle(v * time_ratio for run, _, time_ratio in ratios if (v := value_of(run, "step_time_s")))
            basis = "scaled from others" if ratios else basis
        run_s = None if time is None else time * config.training.steps
        return GroupEstimate(variant, point, len(configs), basis, start_bytes(config), saved, time, run_s)


def _finished(connection: sa.Connection) -> list[Run]:
    query = sa.select(runs.c.number).where(runs.c.state == State.succeeded, runs.c.kind == "train")
    return load(connection, connection.execute(query.order_by(runs.c.number.desc()).limit(LOOKED_AT)).scalars().all())


def _key(config: TrainConfig) -> str:
    data: dict[str, Any] = to_json(config)
    task = {
        name: value
        for name, value in data["task"].items()
        if name not in ("data_seed", "train_puzzles", "test_puzzles")
    }
    rest = (data["model"], data["store"], data["device"], config.training.batch_size, config.training.precision)
    return json.dumps((task, *rest), sort_keys=True)


def _flow(config: TrainConfig) -> int:
    """Numbers that pass through the blocks of the last cycle; 0 where the task's size isn't known from its configuration."""
    task, model = config.task, config.model
    cells = task.size**2 if isinstance(task, SudokuTask | MazeTask) else 0
    return config.training.batch_size * cells * model.width * model.layers * (model.latent_steps + 1)


def _work(config: TrainConfig) -> float:
    """What a step computes, but for a factor."""
    return float(_flow(config) * config.model.width * (config.model.cycles + 2))


def _median(found: Iterable[Run], name: str) -> float | None:
    return _middle(value for run in found if (value := value_of(run, name)) is not None)


def _middle(values: Iterable[float]) -> float | None:
    present = list(values)
    return statistics.median(present) if present else None
