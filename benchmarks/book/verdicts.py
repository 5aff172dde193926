"""How often the verdicts over paired seeds are wrong, from verdicts.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.book.page import Section, answer_of, loaded, missing, number, percent, table

TITLE = "Verdicts"
CLAIM = (
    "on simulated experiments whose truth is known, with normal noise, no kind of case gets a false verdict in more than 5 % "
    "of its experiments, and fewer than 6 pairs never give a claim"
)
COMMAND = "python -m benchmarks.verdicts"


def sections(folder: Path) -> list[Section]:
    """The simulation."""
    name, report = loaded(folder, "verdicts.json")
    if not report:
        return [missing(TITLE, CLAIM, COMMAND)]
    rows: list[dict[str, Any]] = report["rows"]
    alpha = report["alpha"]
    checks: list[bool | None] = [row["false_rate"] <= alpha for row in rows if row["noise"] == "normal"]
    checks.append(not any(row["claims_under_six_pairs"] for row in rows))
    words = list(rows[0]["verdicts"])
    lines = [
        (row["noise"], row["case"], f"{row['true_difference']:g}", f"{row['deviation']:g}", row["pairs"],
         *(percent(row["verdicts"][word] / row["experiments"]) for word in words), percent(row["false_rate"], 2))
        for row in rows
    ]  # fmt: skip
    head = ("noise", "case", "true difference, points", "its deviation", "pairs", *words, "false")
    setting = (
        f"Margin {number(report['margin'], 1)} points, {rows[0]['experiments']:,} experiments a line; seed {report['seed']}. "
        "False: better though it isn't, worse though it isn't, equivalent though the true "
        "difference is at the margin or beyond."
    )
    return [
        Section(TITLE, CLAIM, answer_of(checks), COMMAND, (name,), setting, [table(head, lines)], _failed(rows, alpha))
    ]


def _failed(rows: list[dict[str, Any]], alpha: float) -> list[str]:
    return [
        f"{row['case']}, {row['noise']} noise, {row['pairs']} pairs: {percent(row['false_rate'], 2)} false."
        + (" The t-test takes noise for normal; few and lopsided values can mislead it." * (row["noise"] == "skewed"))
        for row in rows
        if row["false_rate"] > alpha
    ]
