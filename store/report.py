"""What an experiment shows: groups of seeds, verdicts by pairs of equal seed, and who is on the front. All data, no samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from laser_core.verdicts import LEAST_PAIRS, Answer, Verdict, bootstrap, paired_t, verdict
from store.compare import value_of
from store.experiments import Experiment, Member, members
from store.states import State


@dataclass(frozen=True)
class Mean:
    """Mean of ``count`` values with its 95 % interval (t), cut where no value can lie; None where there are too few."""

    count: int
    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ExperimentRun:
    """One run of a group; values are None where the run has none. ``metric`` is a fraction."""

    run_id: str
    number: int
    seed: int
    state: str
    step: int
    steps: int
    metric: float | None
    saved_bytes: float | None
    step_time_s: float | None


@dataclass(frozen=True)
class ExperimentGroup:
    """The runs of one variant at one point of the sweep; its means are over the runs that succeeded.

    ``dominated_by``: groups that are, by their means, at least as good in metric, memory and step time, and better in one;
    ``clearly``: where for one of them the intervals of the better one of these don't even touch.
    """

    name: str
    variant: str
    point: str
    store: str
    is_baseline: bool
    runs: list[ExperimentRun]
    metric: Mean
    saved_bytes: Mean
    eager_bytes: Mean
    step_time_s: Mean
    dominated_by: list[str]
    is_clearly_dominated: bool


@dataclass(frozen=True)
class SeedPair:
    """Two succeeded runs of one seed, in per cent; ``difference`` in percentage points, variant less baseline."""

    seed: int
    baseline_id: str
    variant_id: str
    baseline: float
    variant: float
    difference: float


@dataclass(frozen=True)
class PairedT:
    """Student's t over the pairs; ``ci95`` of the mean difference in points."""

    statistic: float | None
    p: float | None
    ci95: list[float] | None


@dataclass(frozen=True)
class SignFlip:
    """The exact test over all signs of the differences."""

    p: float | None


@dataclass(frozen=True)
class Tost:
    """Two one-sided tests of equivalence at the margin."""

    p: float | None
    ci90: list[float] | None


@dataclass(frozen=True)
class Bootstrap:
    """Seeds drawn anew, then puzzles."""

    p: float
    ci95: list[float]


@dataclass(frozen=True)
class Judgement:
    """A group held against the baseline at its point, in the words and names of ``laser verdict --json``. Ratios are geometric
    means of variant / baseline over the pairs; ``bootstrap`` is None where the metric doesn't count puzzles."""

    variant: str
    baseline: str
    verdict: Answer
    sentence: str
    pairs: int
    differences: list[SeedPair]
    mean: float | None
    margin: float
    paired_t: PairedT
    sign_flip: SignFlip
    tost: Tost
    non_inferiority_p: float | None
    bootstrap: Bootstrap | None
    seeds_needed: int | None
    step_time_ratio: Mean
    saved_bytes_ratio: Mean


@dataclass(frozen=True)
class Report:
    """``sentence`` says it all in words; ``left_out`` names runs without a part in it, and why."""

    experiment: Experiment
    is_over: bool
    sentence: str
    groups: list[ExperimentGroup]
    verdicts: list[Judgement]
    left_out: list[str]


def report(engine: sa.Engine, experiment_id: str) -> Report:
    """Raises NotFound."""
    return judge(*members(engine, experiment_id))


def judge(experiment: Experiment, found: list[Member]) -> Report:
    """The report over these runs."""
    by_group: dict[str, list[Member]] = {}
    for member in sorted(found, key=lambda m: (m.run.seed, m.run.number)):
        by_group.setdefault(member.group, []).append(member)
    order = {name: place for place, name in enumerate(dict.fromkeys(member.group for member in found))}
    names = sorted(by_group, key=lambda name: (by_group[name][0].variant != experiment.baseline, order[name]))
    groups = _with_front([_contest(experiment, name, by_group[name]) for name in names])
    baselines = {group.point: group.name for group in groups if group.is_baseline}
    verdicts = [
        _judgement(experiment, group.name, by_group[group.name], baselines[group.point], by_group[baselines[group.point]])
        for group in groups if not group.is_baseline and group.point in baselines
    ]  # fmt: skip
    return Report(
        experiment,
        experiment.is_over,
        _sentence(experiment, groups, verdicts),
        groups,
        verdicts,
        _left_out(experiment, found),
    )


# --- groups -------------------------------------------------------------------------------------------------------------


def _contest(experiment: Experiment, name: str, found: list[Member]) -> ExperimentGroup:
    runs = [member.run for member in found]
    done = [run for run in runs if run.state == State.succeeded]
    shown = [
        ExperimentRun(
            run.id, run.number, run.seed, run.state, run.step, run.steps,
            value_of(run, experiment.metric), value_of(run, "saved_bytes"), value_of(run, "step_time_s"),
        ) for run in runs
    ]  # fmt: skip

    def mean_of(value: str, most: float = math.inf) -> Mean:
        found = _mean([v for run in done if (v := value_of(run, value)) is not None])
        if found.low is None or found.high is None:
            return found
        return replace(found, low=max(0.0, found.low), high=min(most, found.high))

    return ExperimentGroup(
        name=name,
        variant=found[0].variant,
        point=found[0].point,
        store=runs[0].store_kind,
        is_baseline=found[0].variant == experiment.baseline,
        runs=shown,
        metric=mean_of(experiment.metric, 1.0),
        saved_bytes=mean_of("saved_bytes"),
        eager_bytes=mean_of("eager_bytes"),
        step_time_s=mean_of("step_time_s"),
        dominated_by=[],
        is_clearly_dominated=False,
    )


def _mean(values: Sequence[float], back: Callable[[float], float] = float) -> Mean:
    """``back`` takes the mean and its ends to the scale that is shown."""
    if len(values) < 2:
        return Mean(len(values), back(values[0]) if values else None, None, None)
    interval = paired_t([0.0] * len(values), values)
    return Mean(len(values), back(math.fsum(values) / len(values)), back(interval.low), back(interval.high))


def _with_front(groups: list[ExperimentGroup]) -> list[ExperimentGroup]:
    marked = []
    for group in groups:
        better = [other for other in groups if _dominates(other, group)]
        clearly = any(_clear(other, group) for other in better)
        marked.append(replace(group, dominated_by=[other.name for other in better], is_clearly_dominated=clearly))
    return marked


def _axes(group: ExperimentGroup) -> tuple[Mean, Mean, Mean]:
    """All of which are better when lower; the metric comes with its sign turned."""
    metric = group.metric
    turned = Mean(metric.count, *(None if v is None else -v for v in (metric.mean, metric.high, metric.low)))
    return turned, group.saved_bytes, group.step_time_s


def _dominates(other: ExperimentGroup, group: ExperimentGroup) -> bool:
    ends = [(a.mean, b.mean) for a, b in zip(_axes(other), _axes(group), strict=True)]
    known = [(a, b) for a, b in ends if a is not None and b is not None]
    return len(known) == len(ends) and all(a <= b for a, b in known) and any(a < b for a, b in known)


def _clear(other: ExperimentGroup, group: ExperimentGroup) -> bool:
    return any(
        a.high is not None and b.low is not None and a.high < b.low
        for a, b in zip(_axes(other), _axes(group), strict=True)
    )


# --- pairs --------------------------------------------------------------------------------------------------------------


def _judgement(
    experiment: Experiment, variant: str, variant_runs: list[Member], baseline: str, baseline_runs: list[Member]
) -> Judgement:
    partners = {m.run.seed: m.run for m in baseline_runs if m.run.state == State.succeeded}
    both = [
        (partners[m.run.seed], m.run) for m in variant_runs if m.run.state == State.succeeded and m.run.seed in partners
    ]
    pairs, puzzles = [], []
    for one, other in both:
        before, after = value_of(one, experiment.metric), value_of(other, experiment.metric)
        if before is not None and after is not None:
            difference = 100 * (after - before)
            pairs.append(SeedPair(other.seed, one.id, other.id, 100 * before, 100 * after, difference))
            puzzles += [value_of(one, "puzzles"), value_of(other, "puzzles")]
    values = [pair.baseline for pair in pairs], [pair.variant for pair in pairs]
    found = verdict(*values, experiment.margin)
    told = found.to_json()

    def ratio(name: str) -> Mean:
        logs = [math.log(b / a) for one, other in both if (a := value_of(one, name)) and (b := value_of(other, name))]
        return _mean(logs, math.exp)

    judgement = Judgement(
        variant=variant,
        baseline=baseline,
        verdict=found.answer,
        sentence="",
        pairs=len(pairs),
        differences=pairs,
        mean=found.mean,
        margin=experiment.margin,
        paired_t=PairedT(**told["paired_t"]),
        sign_flip=SignFlip(**told["sign_flip"]),
        tost=Tost(**told["tost"]),
        non_inferiority_p=found.non_inferiority_p,
        bootstrap=_bootstrap(experiment, values, puzzles),
        seeds_needed=found.pairs_needed,
        step_time_ratio=ratio("step_time_s"),
        saved_bytes_ratio=ratio("saved_bytes"),
    )
    return replace(judgement, sentence=_verdict_words(judgement, found))


def _bootstrap(
    experiment: Experiment, values: tuple[list[float], list[float]], puzzles: list[float | None]
) -> Bootstrap | None:
    """Over seeds and puzzles, where the metric counts puzzles and all were measured on equally many."""
    counts = set(puzzles)
    count = counts.pop() if len(counts) == 1 else None
    if experiment.metric != "exact_accuracy" or len(values[0]) < LEAST_PAIRS or not count:
        return None
    found = bootstrap(*values, int(count))
    return Bootstrap(found.p, [found.low, found.high])


# --- words --------------------------------------------------------------------------------------------------------------


def _sentence(experiment: Experiment, groups: list[ExperimentGroup], verdicts: list[Judgement]) -> str:
    done = experiment.states.get(State.succeeded, 0)
    so_far = "" if experiment.is_over else f"So far, with {done} of {experiment.runs} runs done: "
    if not done:
        return "No run has succeeded." if experiment.is_over else "No run is done yet."
    if not verdicts:
        best = max((g for g in groups if g.metric.mean is not None), key=lambda g: g.metric.mean or 0.0, default=None)
        named = f"; {best.name} has the best mean, {_percent(best.metric)}" if best else ""
        return f"{so_far}One variant alone: there is nothing to hold it against{named}."
    return so_far + " ".join(each.sentence for each in verdicts)


def _verdict_words(judged: Judgement, found: Verdict) -> str:
    variant, baseline = judged.variant, judged.baseline
    count = f"{found.pairs} {'pair' if found.pairs == 1 else 'pairs'}"
    difference = _difference(found)
    margin = f"the margin of {found.margin:g} points"
    said = {
        "equivalent": f"{variant} is equivalent to {baseline}: {difference} over {count}, inside {margin}.",
        "better": f"{variant} is better than {baseline}: {difference} over {count}.",
        "worse": f"{variant} is worse than {baseline}: {difference} over {count}.",
        "undecided": f"It is undecided whether {variant} is equivalent to {baseline} within {margin}, better or worse: "
        f"{difference} over {count}; about {found.pairs_needed} pairs would show equivalence, if there is no difference.",
        "too few seeds": f"Too few seeds to judge {variant} against {baseline}: {count}, and {LEAST_PAIRS} are the least.",
    }
    return " ".join(filter(None, (said[found.answer], _costs(judged))))


def _difference(found: Verdict) -> str:
    if found.mean is None or found.t is None:
        return "no difference known"
    return f"{found.mean:+.2f} points (95 % interval {found.t.low:+.2f} to {found.t.high:+.2f})"


def _costs(judged: Judgement) -> str:
    memory, time = judged.saved_bytes_ratio, judged.step_time_ratio
    if memory.mean is None or time.mean is None:
        return ""
    spread = f" ({time.low:.2f} to {time.high:.2f})" if time.low is not None else ""
    held = f"{100 * memory.mean:.1f} % of the baseline's activation bytes"
    return f"It holds {held} at {time.mean:.2f} times{spread} its step time."


def _percent(mean: Mean) -> str:
    return "–" if mean.mean is None else f"{100 * mean.mean:.1f} %"


def _left_out(experiment: Experiment, found: list[Member]) -> list[str]:
    lines = [
        f"#{m.run.number} {m.group}, seed {m.run.seed}: {m.run.state}" + (f" ({m.run.reason})" if m.run.reason else "")
        for m in found if m.run.state in (State.failed, State.cancelled)
    ]  # fmt: skip
    lines += [
        f"#{m.run.number} {m.group}, seed {m.run.seed}: {experiment.metric} is no number"
        for m in found if m.run.state == State.succeeded and value_of(m.run, experiment.metric) is None
    ]  # fmt: skip
    if gone := experiment.planned - experiment.runs:
        lines.append(f"{gone} of {experiment.planned} runs have been deleted")
    return lines
