"""What the lab around the science bears, briefly, and raw files of earlier benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.book.page import Section, answer_of, loaded, machine_of, missing, number, percent, table

CROWD = "a crowd of submits loses no run, doubles no point and misses none"
STORAGE = (
    "metrics kept in chunks take fewer bytes and are taken in faster than one row per point, at flushes of 1,000 points"
)
DEMO = "the demo trains and compares plain and compressed models in pairs of seeds on one machine"


def sections(folder: Path) -> list[Section]:
    """Crowd, metric storage, demo, and the earlier benchmark of stores."""
    return [_crowd(folder), _storage(folder), _demo(folder), *_earlier(folder)]


def _crowd(folder: Path) -> Section:
    name, report = loaded(folder, "crowd.json")
    if not report:
        return missing("A crowd of submits", CROWD, "python -m benchmarks.crowd")
    whole = report["succeeded"] == report["accepted"] == report["distinct_runs"] == report["runs"]
    clean = not report["doubled_points"] and not report["missing_points"] and not report["errors"]
    told = [key for key in report if key not in ("command", "hardware", "errors")]
    body = [table(("measured", "value"), [(key.replace("_", " "), f"{report[key]:g}") for key in told])]
    failed = [str(error) for error in report["errors"]]
    answer = answer_of([whole and clean])
    return Section(
        "A crowd of submits", CROWD, answer, report["command"], (name,), machine_of(report) + ".", body, failed
    )


def _storage(folder: Path) -> Section:
    name, report = loaded(folder, "metric_storage.json")
    if not report:
        return missing("Metric storage", STORAGE, "python -m benchmarks.metric_storage")
    engines = {key: of for key, of in report.items() if isinstance(of, dict) and "chunks" in of}
    speed = "ingest_points_per_s_flush_1000"
    checks: list[bool | None] = [
        of["chunks"]["bytes_per_point"] < of["rows"]["bytes_per_point"] and of["chunks"][speed] > of["rows"][speed]
        for of in engines.values()
    ]
    lines = [
        (engine, layout, *(f"{value:,}" for value in of[layout].values()))
        for engine, of in engines.items() for layout in ("chunks", "rows")
    ]  # fmt: skip
    names = [key.replace("_", " ") for key in next(iter(engines.values()))["chunks"]]
    slower = [
        f"{engine}: rows draw a chart faster, {of['rows']['chart_p50_ms']} against {of['chunks']['chart_p50_ms']} ms."
        for engine, of in engines.items() if of["rows"]["chart_p50_ms"] < of["chunks"]["chart_p50_ms"]
    ]  # fmt: skip
    setting = f"{machine_of(report)}; seed {report['seed']}."
    body = [table(("database", "layout", *names), lines)]
    return Section("Metric storage", STORAGE, answer_of(checks), report["command"], (name,), setting, body, slower)


def _demo(folder: Path) -> Section:
    name, report = loaded(folder, "demo-report.json")
    if not report:
        return missing("The demo", DEMO, "make demo")
    runs: list[dict[str, Any]] = sorted(report["runs"], key=lambda run: (run["variant"], run["seed"]))
    head = ("variant", "seed", "state", "exact", "bytes", "step ms")
    lines = [
        (run["variant"], str(run["seed"]), run["state"], percent(run["exact_accuracy"]),
         percent(run["saved_bytes"] / run["eager_bytes"]), number(run["step_time_s"] * 1e3, 0)) for run in runs
    ]  # fmt: skip
    answer = answer_of([all(run["state"] == "succeeded" for run in runs)])
    return Section(
        "The demo",
        DEMO,
        answer,
        "make demo",
        (name,),
        "The raw file names no hardware.",
        [table(head, lines), report["summary"]],
    )


def _earlier(folder: Path) -> list[Section]:
    """The stores before ``laser-coded``; its command went when ``make bench-core`` came."""
    name, report = loaded(folder, "activation_stores.json")
    if not report:
        return []
    lines = [
        (setting, row["store"], percent(row["saved_share"]), number(row["step_time_ratio"]), str(len(row["step_time_ratios"])))
        for setting, rows in report["results"].items() for row in rows
    ]  # fmt: skip
    claim = "bytes and time of the first stores, with random weights"
    head = ("setting", "store", "bytes", "time, median", "pairs")
    setting = f"{machine_of(report)}; measured with a benchmark that the command replaced."
    body = [table(head, lines)]
    return [
        Section(
            "Earlier: the first stores", claim, "superseded by the front", "make bench-core", (name,), setting, body
        )
    ]
