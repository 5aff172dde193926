"""An experiment: variants × the points of a sweep × seeds, and what is asked of them. ``plan`` makes the runs."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from laser_core.config.runs import TrainConfig, parse_run
from laser_core.schema import Checked, ConfigError, Problem, option, parse

MOST_RUNS = 1000
MOST_VARIANTS = 32
MOST_FIELDS = 8
MOST_NAME = 60
MOST_TAGS = 15  # one more names the experiment
NOT_VARIED = ("seed", "name", "tags", "kind")


@dataclass(frozen=True)
class GridSweep(Checked):
    """Every combination of some fields' values."""

    fields: dict[str, Any] = option(help="Lists of values by field, such as model.width: [32, 64].")
    kind: Literal["grid"] = "grid"

    def cross_check(self) -> list[Problem]:
        return [p for path, values in self.fields.items() for p in _values_problems(path, values)] or _fields_problems(
            self
        )

    @property
    def size(self) -> int:
        """How many points."""
        return math.prod(len(values) for values in self.fields.values())

    def points(self) -> list[dict[str, Any]]:
        """Values by field."""
        return [dict(zip(self.fields, values, strict=True)) for values in itertools.product(*self.fields.values())]


@dataclass(frozen=True)
class RandomSweep(Checked):
    """Combinations drawn at random, every field apart from the others."""

    fields: dict[str, Any] = option(
        help="By field: a list of values, or {low, high} with log: true for a logarithmic scale, whole: true for whole numbers."
    )
    kind: Literal["random"] = "random"
    samples: int = option(8, "Combinations to draw.", ge=1, le=MOST_RUNS)
    seed: int = option(0, "Seed of the draws.", ge=0, lt=2**31)

    def cross_check(self) -> list[Problem]:
        found = [p for path, values in self.fields.items() for p in _range_problems(path, values)]
        return found or _fields_problems(self)

    @property
    def size(self) -> int:
        """How many points, at most."""
        return self.samples

    def points(self) -> list[dict[str, Any]]:
        """Values by field."""
        source = random.Random(self.seed)
        return [{path: _drawn(source, values) for path, values in self.fields.items()} for _ in range(self.samples)]


@dataclass(frozen=True)
class ExperimentConfig(Checked):
    """Groups of runs from one base, paired by seed, and the margin that decides what counts as a difference."""

    name: str = option(help="What people read in lists.", max_length=MOST_NAME)
    margin: float = option(
        help="Percentage points of the metric that don't matter; fixed now, and never changed.", gt=0, le=100
    )
    variants: dict[str, Any] = option(
        help="By name: what differs from the base, as a part of a run's configuration. The first is the baseline."
    )
    seeds: tuple[int, ...] = option(
        help="The seeds of every variant; a number n stands for 0 to n - 1.", max_length=MOST_RUNS
    )
    base: dict[str, Any] = option(
        dict, "The training run that all share; its seed and name are the experiment's to give."
    )
    baseline: str = option(
        "", "The variant that the others are held against; empty for the first.", max_length=MOST_NAME
    )
    metric: Literal["exact_accuracy", "cell_accuracy"] = option("exact_accuracy", "What is judged, on unseen puzzles.")
    sweep: GridSweep | RandomSweep | None = option(None, "Fields that take several values in every variant.")

    def cross_check(self) -> list[Problem]:
        problems = []
        if not 1 <= len(self.variants) <= MOST_VARIANTS:
            problems.append(Problem("variants", f"expected 1 to {MOST_VARIANTS}, got {len(self.variants)}"))
        for name, patch in self.variants.items():
            problems += _variant_problems(name, patch)
        if self.baseline and self.baseline not in self.variants:
            problems.append(Problem("baseline", f"expected one of {', '.join(self.variants)}, got {self.baseline!r}"))
        if not self.name.strip():
            problems.append(Problem("name", "give the experiment a name"))
        if not self.seeds:
            problems.append(Problem("seeds", "expected at least one"))
        if bad := [seed for seed in self.seeds if not 0 <= seed < 2**31]:
            problems.append(Problem("seeds", f"expected 0 to {2**31 - 1}, got {bad[0]}"))
        if len(set(self.seeds)) < len(self.seeds):
            problems.append(Problem("seeds", "one is there twice"))
        if self.size > MOST_RUNS:
            problems.append(Problem("", f"makes {self.size:,} runs; expected at most {MOST_RUNS:,}"))
        return problems

    @property
    def size(self) -> int:
        """How many runs, at most."""
        return len(self.variants) * len(self.seeds) * (self.sweep.size if self.sweep else 1)

    @property
    def baseline_variant(self) -> str:
        """Its name."""
        return self.baseline or next(iter(self.variants))


@dataclass(frozen=True)
class Planned:
    """One run of an experiment. ``point`` says the sweep's values; empty without a sweep."""

    variant: str
    point: str
    config: TrainConfig


def parse_experiment(data: Any) -> ExperimentConfig:
    """ExperimentConfig from JSON data. Raises ConfigError naming every field at fault."""
    if isinstance(data, Mapping) and type(data.get("seeds")) is int:
        count = data["seeds"]
        if not 1 <= count <= MOST_RUNS:
            raise ConfigError(Problem("seeds", f"expected 1 to {MOST_RUNS}, got {count}"))
        data = {**data, "seeds": list(range(count))}
    config: ExperimentConfig = parse(ExperimentConfig, data)
    return config


def plan(config: ExperimentConfig) -> list[Planned]:
    """The runs in the order in which they are queued: pairs side by side, and the variants in reversed order with every other
    seed, so that none always starts first. Raises ConfigError for what no run can be made of."""
    base = _parsed("base", {"kind": "train", **config.base})
    if len(base.tags) > MOST_TAGS:
        raise ConfigError(Problem("base.tags", f"expected at most {MOST_TAGS}, got {len(base.tags)}"))
    points = {_label(point): point for point in (config.sweep.points() if config.sweep else [{}])}
    groups = [
        (variant, label, _group(config, variant, label, point))
        for label, point in points.items()
        for variant in config.variants
    ]
    planned = []
    for number, seed in enumerate(config.seeds):
        for variant, label, made in groups if number % 2 == 0 else reversed(groups):
            words = " · ".join(filter(None, (config.name, variant, label, f"seed {seed}")))
            planned.append(Planned(variant, label, replace(made, name=words[:120], seed=seed)))
    return planned


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396, except that a changed ``kind`` starts its object anew: the other kind's fields wouldn't fit."""
    if not isinstance(patch, dict):
        return patch
    same_kind = isinstance(target, dict) and patch.get("kind", target.get("kind")) == target.get("kind")
    merged = dict(target) if same_kind else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


# --- runs ---------------------------------------------------------------------------------------------------------------


def _group(config: ExperimentConfig, variant: str, label: str, point: Mapping[str, Any]) -> TrainConfig:
    data = merge_patch({"kind": "train", **config.base}, config.variants[variant])
    for path, value in point.items():
        data = merge_patch(data, _nested(path.split("."), value))
    return _parsed(f"variants.{variant}" + (f" at {label}" if label else ""), data)


def _parsed(where: str, data: Mapping[str, Any]) -> TrainConfig:
    try:
        run = parse_run(data)
    except ConfigError as error:
        raise error.under(where) from error
    if not isinstance(run, TrainConfig):
        raise ConfigError(Problem(f"{where}.kind", f"expected train, got {run.kind}"))
    return run


def _nested(path: Sequence[str], value: Any) -> dict[str, Any]:
    return {path[0]: _nested(path[1:], value) if path[1:] else value}


def _label(point: Mapping[str, Any]) -> str:
    return ", ".join(f"{path}={value}" for path, value in point.items())


def _drawn(source: random.Random, values: Any) -> Any:
    if isinstance(values, list):
        return values[source.randrange(len(values))]
    low, high = values["low"], values["high"]
    is_log = values.get("log")
    value = math.exp(source.uniform(math.log(low), math.log(high))) if is_log else source.uniform(low, high)
    return min(high, max(low, round(value))) if values.get("whole") else float(f"{value:.4g}")


# --- problems -----------------------------------------------------------------------------------------------------------


def _variant_problems(name: str, patch: Any) -> list[Problem]:
    if not name.strip() or len(name) > MOST_NAME:
        return [Problem("variants", f"a name has 1 to {MOST_NAME} characters, got {name[:80]!r}")]
    if not isinstance(patch, Mapping):
        return [Problem(f"variants.{name}", f"expected a part of a run's configuration, got {str(patch)[:60]!r}")]
    return [
        Problem(f"variants.{name}.{field}", "is the same for all variants: leave it out")
        for field in NOT_VARIED if field in patch
    ]  # fmt: skip


def _fields_problems(sweep: GridSweep | RandomSweep) -> list[Problem]:
    if not 1 <= len(sweep.fields) <= MOST_FIELDS:
        return [Problem("fields", f"expected 1 to {MOST_FIELDS}, got {len(sweep.fields)}")]
    return [
        Problem(f"fields.{path}", "expected a field that may vary, such as model.width or training.learning_rate")
        for path in sweep.fields if not all(path.split(".")) or path.split(".")[0] in NOT_VARIED
    ]  # fmt: skip


def _values_problems(path: str, values: Any) -> list[Problem]:
    if not isinstance(values, list) or not values:
        return [Problem(f"fields.{path}", f"expected a list of values, got {str(values)[:60]!r}")]
    if any(isinstance(value, list | dict) or len(str(value)) > 40 for value in values):
        return [Problem(f"fields.{path}", "expected numbers, words of up to 40 letters, true or false")]
    return []


def _range_problems(path: str, values: Any) -> list[Problem]:
    if not isinstance(values, dict):
        return _values_problems(path, values)
    strange = sorted(set(values) - {"low", "high", "log", "whole"})
    if strange:
        return [Problem(f"fields.{path}.{strange[0]}"[:120], "unknown; a range has low, high, log, whole")]
    low, high = values.get("low"), values.get("high")
    if not all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high)) or not low < high:  # type: ignore[operator]
        return [Problem(f"fields.{path}", f"expected low below high, got {low!r} and {high!r}")]
    if values.get("log") and low <= 0:  # type: ignore[operator]
        return [Problem(f"fields.{path}.low", f"expected more than 0 on a logarithmic scale, got {low}")]
    return []
