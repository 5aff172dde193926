"""An experiment's report as a page of Markdown."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence

import yaml

from store.report import ExperimentGroup, Judgement, Mean, Report

GROUP = ("group", "seeds", "accuracy, %", "activation KiB", "of eager", "step, ms", "front")


def markdown(report: Report) -> str:
    """The sentence, the groups, each verdict with its pairs and tests, what was left out, and the configuration."""
    experiment = report.experiment
    made = datetime.datetime.fromtimestamp(experiment.created_at, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    states = ", ".join(f"{count} {state}" for state, count in experiment.states.items())
    parts = [
        f"# {_plain(experiment.name)}",
        f"**{_plain(report.sentence)}**",
        f"Experiment `{experiment.id}`, made {made} by {_plain(experiment.owner_name)}. {experiment.runs} runs: {states}. "
        f"Judged by {experiment.metric} on unseen puzzles, against {_plain(experiment.baseline)}, at a margin of "
        f"{experiment.margin:g} percentage points fixed when it was made.",
        "## Groups",
        "Means over seeds with their 95 % intervals. A group is dominated where another is, by its means, at least as good in "
        "accuracy, bytes and time.",
        _table(GROUP, map(_group, report.groups)),
    ]
    for judged in report.verdicts:
        parts += _verdict(judged)
    if report.left_out:
        parts += ["## Left out", "\n".join(f"- {_plain(line)}" for line in report.left_out)]
    config = yaml.safe_dump(experiment.config, sort_keys=False, allow_unicode=True)
    parts += ["## Configuration", "\n".join(f"    {line}".rstrip() for line in config.splitlines())]
    return "\n\n".join(parts) + "\n"


def _group(group: ExperimentGroup) -> Sequence[str]:
    saved, eager = group.saved_bytes.mean, group.eager_bytes.mean
    front = f"dominated by {', '.join(group.dominated_by)}" if group.dominated_by else "on it"
    return (
        group.name,
        f"{group.metric.count} of {len(group.runs)}",
        _mean(group.metric, 100, 2),
        _mean(group.saved_bytes, 1 / 1024, 1),
        "–" if saved is None or not eager else f"{100 * saved / eager:.1f} %",
        _mean(group.step_time_s, 1000, 1),
        front + ("" if not group.dominated_by or group.is_clearly_dominated else ", within the intervals"),
    )


def _verdict(judged: Judgement) -> list[str]:
    t, tost, draws = judged.paired_t, judged.tost, judged.bootstrap
    tests = [
        ("paired t, 95 % interval", _p(t.p), _ends(t.ci95)),
        ("sign-flip, exact", _p(judged.sign_flip.p), "–"),
        ("TOST, 90 % interval", _p(tost.p), _ends(tost.ci90)),
        ("not worse by the margin", _p(judged.non_inferiority_p), "–"),
        (
            "bootstrap over seeds and puzzles, 95 %",
            _p(draws.p if draws else None),
            _ends(draws.ci95 if draws else None),
        ),
    ]
    pairs = [
        (str(pair.seed), f"{pair.baseline:.2f}", f"{pair.variant:.2f}", f"{pair.difference:+.2f}")
        for pair in judged.differences
    ]
    return [
        f"## {_plain(judged.variant)} against {_plain(judged.baseline)}: {judged.verdict}",
        _plain(judged.sentence),
        _table(("test", "p", "mean difference, points"), tests),
        f"Step time × {_mean(judged.step_time_ratio, 1, 3)}, activation bytes × {_mean(judged.saved_bytes_ratio, 1, 4)} of the "
        f"baseline's, paired. Pairs that would show equivalence, were there no difference: {judged.seeds_needed or '–'}.",
        _table(("seed", "baseline, %", "variant, %", "difference, points"), pairs),
    ]  # fmt: skip


def _mean(value: Mean, scale: float, digits: int) -> str:
    if value.mean is None:
        return "–"
    ends = (
        ""
        if value.low is None or value.high is None
        else f" ({value.low * scale:.{digits}f} to {value.high * scale:.{digits}f})"
    )
    return f"{value.mean * scale:.{digits}f}{ends}"


def _p(p: float | None) -> str:
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _ends(ends: list[float] | None) -> str:
    return "–" if ends is None else f"{ends[0]:+.2f} to {ends[1]:+.2f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_plain(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _plain(text: str) -> str:
    """Names are their owner's: none makes a tag, a link or a heading of its own."""
    for sign in ("\\", "`", "*", "_", "[", "]", "<", ">", "#"):
        text = text.replace(sign, "\\" + sign)
    return text
