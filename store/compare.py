"""Comparing groups of runs: variants of the activation store, paired by seed, and what the pairs can and can't show."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from laser_core.verdicts import LEAST_PAIRS, sign_flip
from store.database import read
from store.errors import NotFound
from store.runs import Run, load, owned
from store.states import State
from store.tables import runs
from store.users import Owners

_IN_METRICS = {  # where a run that has no result yet shows the value
    "exact_accuracy": "test.exact_accuracy",
    "cell_accuracy": "test.cell_accuracy",
    "saved_bytes": "memory.saved_bytes",
    "eager_bytes": "memory.eager_bytes",
    "step_time_s": "time.step_s",
}


@dataclass(frozen=True)
class Member:
    """One run of a group; values are None where the run has none."""

    run_id: str
    name: str
    seed: int
    state: str
    exact_accuracy: float | None
    cell_accuracy: float | None
    saved_bytes: float | None
    eager_bytes: float | None
    step_time_s: float | None


@dataclass(frozen=True)
class Spread:
    """``count`` values; the other three are None when there are none."""

    count: int
    mean: float | None
    min: float | None
    max: float | None


@dataclass(frozen=True)
class Group:
    """Runs of one store variant; the spreads are those of its succeeded runs. ``saved_fraction`` is mean saved bytes /
    mean eager bytes."""

    variant: str
    store: str
    members: list[Member]
    exact_accuracy: Spread
    cell_accuracy: Spread
    saved_bytes: Spread
    eager_bytes: Spread
    step_time_s: Spread
    saved_fraction: float | None


@dataclass(frozen=True)
class Pair:
    """Two succeeded runs alike in seed and all settings but the store: accuracy as variant − baseline, others as
    variant / baseline."""

    seed: int
    baseline_id: str
    variant_id: str
    exact_accuracy_difference: float | None
    step_time_ratio: float | None
    saved_bytes_ratio: float | None


@dataclass(frozen=True)
class Pairing:
    """All pairs of one variant with the baseline. ``p_value`` is that of no difference in exact accuracy (sign-flip test
    over the pairs, two-sided); None below LEAST_PAIRS."""

    baseline: str
    variant: str
    pairs: list[Pair]
    exact_accuracy_difference: Spread
    step_time_ratio: Spread
    saved_bytes_ratio: Spread
    p_value: float | None


@dataclass(frozen=True)
class Comparison:
    groups: list[Group]
    pairings: list[Pairing]
    summary: str


def compare(engine: sa.Engine, run_ids: Sequence[str], owners: Owners) -> Comparison:
    """Groups the runs by store variant and pairs each variant with the baseline (the plainest store) by seed.

    Raises NotFound naming the runs that aren't there, or are of others than ``owners``.
    """
    ids = list(dict.fromkeys(run_id.replace("\0", "") for run_id in run_ids))
    with read(engine) as connection:
        rows = connection.execute(sa.select(runs.c.id, runs.c.number).where(runs.c.id.in_(ids), owned(owners))).all()
        numbers = {row.id: row.number for row in rows}
        if missing := [run_id for run_id in ids if run_id not in numbers]:
            raise NotFound(f"no run {', '.join(map(repr, missing))}")
        found = load(connection, [numbers[run_id] for run_id in ids])
    by_variant = _by_variant(found)
    groups = [_group(variant, members) for variant, members in by_variant.items()]
    names = list(by_variant)
    pairings = [_pairing(names[0], by_variant[names[0]], name, by_variant[name]) for name in names[1:]]
    return Comparison(groups, pairings, _summary(groups, pairings, found))


# --- groups ------------------------------------------------------------------------------------------------------------


def _by_variant(found: list[Run]) -> dict[str, list[Run]]:
    """Runs by variant, the baseline first: a store's kind, with those of its settings that differ between the runs."""
    variants: dict[str, list[Run]] = {}
    for run in sorted(found, key=lambda run: (_plainness(run), run.seed, run.number)):
        variants.setdefault(_variant(run, found), []).append(run)
    return variants


def _plainness(run: Run) -> tuple[int, str, str]:
    order = ("none", "checkpoint", "laser")
    place = order.index(run.store_kind) if run.store_kind in order else len(order)
    return (place, run.store_kind, json.dumps(run.config.get("store"), sort_keys=True))


def _variant(run: Run, found: list[Run]) -> str:
    if not run.store_kind:
        return run.kind
    settings = run.config["store"]
    others = [other.config["store"] for other in found if other.store_kind == run.store_kind]
    differ = [name for name in settings if any(other.get(name) != settings[name] for other in others)]
    return " ".join([run.store_kind, *(f"{name}={settings[name]}" for name in differ)])


def _group(variant: str, members: list[Run]) -> Group:
    done = [run for run in members if run.state == State.succeeded]
    spreads = {name: _spread(value_of(run, name) for run in done) for name in _IN_METRICS}
    saved, eager = spreads["saved_bytes"].mean, spreads["eager_bytes"].mean
    return Group(
        variant=variant,
        store=members[0].store_kind,
        members=[
            Member(run.id, run.name, run.seed, run.state, **{name: value_of(run, name) for name in _IN_METRICS})
            for run in members
        ],
        saved_fraction=saved / eager if saved is not None and eager else None,
        **spreads,
    )


def value_of(run: Run, name: str) -> float | None:
    """A result of the run, or its newest value while it has none; None where it isn't known."""
    values = run.result.get("values", {}) if run.result else {}
    value = values.get(name, run.latest.get(_IN_METRICS.get(name, name)))
    return value if value is not None and math.isfinite(value) else None


def _spread(values: Iterable[float | None]) -> Spread:
    present = [value for value in values if value is not None]
    if not present:
        return Spread(0, None, None, None)
    return Spread(len(present), math.fsum(present) / len(present), min(present), max(present))


# --- pairs -------------------------------------------------------------------------------------------------------------


def _pairing(baseline: str, baseline_runs: list[Run], variant: str, variant_runs: list[Run]) -> Pairing:
    partners = {_all_but_store(run): run for run in baseline_runs if run.state == State.succeeded}
    own = {_all_but_store(run): run for run in variant_runs if run.state == State.succeeded}
    pairs = [_pair(partners[settings], run) for settings, run in own.items() if settings in partners]
    differences = [pair.exact_accuracy_difference for pair in pairs]
    return Pairing(
        baseline=baseline,
        variant=variant,
        pairs=pairs,
        exact_accuracy_difference=_spread(differences),
        step_time_ratio=_spread(pair.step_time_ratio for pair in pairs),
        saved_bytes_ratio=_spread(pair.saved_bytes_ratio for pair in pairs),
        p_value=_p_value([difference for difference in differences if difference is not None]),
    )


def _all_but_store(run: Run) -> str:
    """What two runs must share to be a pair. Of several alike, the newest counts."""
    rest = {name: value for name, value in run.config.items() if name not in ("store", "name", "tags")}
    return json.dumps(rest, sort_keys=True)


def _pair(baseline: Run, variant: Run) -> Pair:
    accuracies = (value_of(variant, "exact_accuracy"), value_of(baseline, "exact_accuracy"))
    known = accuracies[0] is not None and accuracies[1] is not None
    return Pair(
        seed=variant.seed,
        baseline_id=baseline.id,
        variant_id=variant.id,
        exact_accuracy_difference=accuracies[0] - accuracies[1] if known else None,  # type: ignore[operator]
        step_time_ratio=_ratio(value_of(variant, "step_time_s"), value_of(baseline, "step_time_s")),
        saved_bytes_ratio=_ratio(value_of(variant, "saved_bytes"), value_of(baseline, "saved_bytes")),
    )


def _ratio(over: float | None, under: float | None) -> float | None:
    return over / under if over is not None and under else None


def _p_value(differences: list[float]) -> float | None:
    return None if len(differences) < LEAST_PAIRS else sign_flip([0.0] * len(differences), differences)


# --- words -------------------------------------------------------------------------------------------------------------


def _summary(groups: list[Group], pairings: list[Pairing], found: list[Run]) -> str:
    if len(groups) < 2:
        sentences = [_alone(group) for group in groups]
    else:
        fractions = {group.variant: group.saved_fraction for group in groups}
        sentences = [sentence for pairing in pairings for sentence in _pairing_words(pairing, fractions)]
    left_out = [f"{run.id} ({run.state})" for run in found if run.state != State.succeeded]
    if left_out:
        sentences.append(f"Left out, as not succeeded: {', '.join(left_out)}.")
    return " ".join(sentences) or "Nothing to compare."


def _alone(group: Group) -> str:
    return f"Only one variant, {group.variant}: there is nothing to compare it with."


def _pairing_words(pairing: Pairing, fractions: dict[str, float | None]) -> list[str]:
    count = len(pairing.pairs)
    if not count:
        return [
            f"{pairing.variant} and {pairing.baseline} share no seed with all other settings equal where both succeeded: "
            "nothing paired can be said."
        ]
    said = []
    if (fraction := fractions[pairing.variant]) is not None:
        said.append(f"held {100 * fraction:.1f} % of eager's activation bytes")
    if (ratio := pairing.step_time_ratio.mean) is not None:
        said.append(f"took {ratio:.2f}× the step time of {pairing.baseline}")
    accuracy = pairing.exact_accuracy_difference
    if accuracy.mean is not None and accuracy.min is not None and accuracy.max is not None:
        spread = f" ({100 * accuracy.min:+.1f} to {100 * accuracy.max:+.1f})" if count > 1 else ""
        size, word = f"{abs(100 * accuracy.mean):.1f}", "more" if accuracy.mean > 0 else "fewer"
        how = "as many" if size == "0.0" else f"{size} percentage points {word}"
        said.append(f"solved {how} of the unseen puzzles{spread}")
    what = ", ".join(said) or "has no figures to compare"
    return [f"{_pairs(count)}: {pairing.variant} {what}.", *_what_it_shows(pairing)]


def _what_it_shows(pairing: Pairing) -> list[str]:
    count = pairing.exact_accuracy_difference.count
    if not count:
        return []
    if pairing.p_value is None:
        return [f"{_pairs(count)} cannot show whether accuracy differs: at least {LEAST_PAIRS} are needed."]
    chance = f"p = {pairing.p_value:.2g}, sign-flip test over {_pairs(count)}"
    if pairing.p_value < 0.05:
        return [f"The difference in accuracy is unlikely to be chance ({chance})."]
    return [f"A difference in accuracy is not shown ({chance}), nor that there is none."]


def _pairs(count: int) -> str:
    return f"{count} pair" if count == 1 else f"{count} pairs"
