"""An experiment from one file to a verdict, by the platform alone: its own report, experiment_4x4.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.book.page import FAILS, HOLDS, Section, between, loaded, missing, number, p_value, percent, table

TITLE = "An experiment on the platform"
CLAIM = "one YAML file of two variants and ten seeds on 4×4 Sudoku gives a verdict by the platform alone, and it is equivalence"
COMMAND = "laser experiment submit docs/examples/sudoku-4x4.yaml --wait"
FILE = "experiment_4x4.json"
ANSWERS = {"equivalent": HOLDS, "better": f"{FAILS} (better)", "worse": f"{FAILS} (worse)"}


def sections(folder: Path) -> list[Section]:
    """The report as the platform wrote it."""
    name, report = loaded(folder, FILE)
    if not report:
        return [missing(TITLE, CLAIM, COMMAND)]
    (judged,) = report["verdicts"]
    experiment = report["experiment"]
    states = ", ".join(f"{count} {state}" for state, count in experiment["states"].items())
    setting = (
        f"{experiment['planned']} runs: {states}. Margin {experiment['margin']:g} points of {experiment['metric']}, fixed when "
        "the experiment was made. Two runs at once on two cores: step times hold for that."
    )
    body = [f"> {report['sentence']}", _groups(report["groups"]), _tests(judged), _pairs(judged)]
    answer = ANSWERS.get(judged["verdict"], f"undecided ({judged['verdict']})")
    return [Section(TITLE, CLAIM, answer, COMMAND, (name,), setting, body, report["left_out"])]


def _groups(groups: list[dict[str, Any]]) -> str:
    head = ("group", "seeds", "accuracy, %", "activation MiB", "of eager", "step, ms", "front")
    lines = [
        (
            group["name"], f"{group['metric']['count']} of {len(group['runs'])}", _mean(group["metric"], 100, 2),
            _mean(group["saved_bytes"], 2**-20, 3), percent(group["saved_bytes"]["mean"] / group["eager_bytes"]["mean"]),
            _mean(group["step_time_s"], 1e3, 0), "dominated" if group["dominated_by"] else "on it",
        ) for group in groups
    ]  # fmt: skip
    return table(head, lines)


def _tests(judged: dict[str, Any]) -> str:
    rows = [
        ("paired t, 95 % interval", judged["paired_t"]["p"], judged["paired_t"]["ci95"]),
        ("sign-flip, exact", judged["sign_flip"]["p"], None),
        ("TOST, 90 % interval", judged["tost"]["p"], judged["tost"]["ci90"]),
        ("not worse by the margin", judged["non_inferiority_p"], None),
        ("bootstrap over seeds and puzzles, 95 %", *((judged["bootstrap"] or {}).get(k) for k in ("p", "ci95"))),
    ]
    return table(
        ("test", "p", "mean difference, points"), [(name, p_value(p), between(ends, 2)) for name, p, ends in rows]
    )


def _pairs(judged: dict[str, Any]) -> str:
    lines = [
        (str(pair["seed"]), *(number(pair[key], 2) for key in ("baseline", "variant", "difference")))
        for pair in judged["differences"]
    ]
    return table(("seed", f"{judged['baseline']}, %", f"{judged['variant']}, %", "difference, points"), lines)


def _mean(mean: dict[str, Any], scale: float, digits: int) -> str:
    if mean["mean"] is None:
        return "–"
    ends = "" if mean["low"] is None else f" ({between([mean['low'] * scale, mean['high'] * scale], digits)})"
    return number(mean["mean"] * scale, digits) + ends
