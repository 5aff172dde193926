"""What the service bears, beside MLflow's server, from bench-service.json."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.book.page import Section, answer_of, loaded, machine_of, missing, number, table

TITLE = "The service under load"
CLAIM = (
    "over HTTP with a token it takes in ten times as many points per second as MLflow's server, draws a million points "
    "within 50 ms, lists 100,000 runs within 100 ms, takes 400 submits a second before 20 live viewers, and starts a run "
    "within a second"
)
COMMAND = "make bench-service"
BUSY = 3.0  # processes that wanted one of the cores; above it, times say little about the service

# key: (what it is, digits, aim in words, whether it is met, the part that measures it)
Aim = tuple[str, int, str, Callable[[float], bool], str]
AIMS: dict[str, Aim] = {
    "ingest_ratio_vs_mlflow": (
        "points taken in over HTTP, times MLflow's",
        1,
        "≥ 10",
        lambda x: x >= 10,
        "beside_mlflow",
    ),
    "ingest_points_per_s": ("the same, points/s", 0, "", lambda x: True, "beside_mlflow"),
    "store_points_per_s_sqlite": ("into the store, SQLite, points/s", 0, "≥ 150,000", lambda x: x >= 150e3, "stores"),
    "store_points_per_s_postgres": (
        "into the store, PostgreSQL, points/s",
        0,
        "≥ 300,000",
        lambda x: x >= 300e3,
        "stores",
    ),
    "chart_1m_p95_ms": ("chart of a million points, p95, ms", 1, "≤ 50", lambda x: x <= 50, "beside_mlflow"),
    "chart_ratio_vs_mlflow": ("the same, MLflow's median over ours", 1, "", lambda x: True, "beside_mlflow"),
    "list_100k_p95_ms": ("list of 100,000 runs, p95, ms", 1, "≤ 100", lambda x: x <= 100, "lists"),
    "submits_per_s": ("submits a second", 0, "≥ 400", lambda x: x >= 400, "submits"),
    "submit_p99_ms": ("a submit, p99, ms", 0, "≤ 250", lambda x: x <= 250, "submits"),
    "submit_to_running_median_s": ("submit to running, median, s", 2, "≤ 1", lambda x: x <= 1, "starts"),
    "submit_to_training_median_s": ("submit to a loaded model, median, s", 2, "", lambda x: True, "starts"),
}


def sections(folder: Path) -> list[Section]:
    """Every figure beside its aim."""
    name, report = loaded(folder, "bench-service.json")
    if not report:
        return [missing(TITLE, CLAIM, COMMAND)]
    raw = report["raw"]
    lines, checks, failed = [], [], []
    for key, (what, digits, aim, holds, part) in AIMS.items():
        value, busy = report[key], _load(raw.get(part, {}))
        lines.append((what, f"{value:,.{digits}f}" if value is not None else "–", aim, number(busy, 1)))
        if aim:
            checks.append(None if value is None else holds(value))
            if checks[-1] is False:
                under = f", measured while {busy:.0f} processes wanted the {report['hardware']['cpus']} cores"
                failed.append(f"{what}: {value:,.{digits}f}, aimed for {aim}{under if busy and busy > BUSY else ''}.")
    body = [table(("measured", "value", "aim", "load"), lines), *_said(raw)]
    told = ", ".join(f"{part} {version}" for part, version in report["versions"].items())
    setting = (
        f"{machine_of(report)}; {told}; seed {report['seed']}. Load is the mean number of processes that wanted a core."
    )
    return [Section(TITLE, CLAIM, answer_of(checks), report["command"], (name,), setting, body, failed)]


def _load(part: dict[str, Any]) -> float | None:
    """Mean of what the part's samples recorded."""
    loads = [sample["load"] for sample in _samples(part) if "load" in sample] or [
        part[k] for k in ("load",) if k in part
    ]
    return sum(loads) / len(loads) if loads else None


def _samples(part: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = part.get("samples") or part.get("ingest", {}).get("samples", [])
    return found


def _said(raw: dict[str, Any]) -> list[str]:
    """What belongs beside the figures."""
    said = []
    if "beside_mlflow" in raw:
        chart, ingest = raw["beside_mlflow"]["chart"], raw["beside_mlflow"]["ingest"]
        theirs, ours = (_kept(chart[key]) for key in ("mlflow_has_extremes", "has_extremes"))
        said.append(
            f"MLflow took in {ingest['mlflow_points_per_s']:,.0f} points/s in batches of 1,000, the most it allows; ours had "
            f"10,000. Its chart of {chart['mlflow_points_shown']} points took {chart['mlflow_p95_ms']:,.0f} ms (p95) and "
            f"{theirs} the curve's two spikes; ours, of {chart['points_shown']}, {ours} them. MLflow asked for no password, "
            "which favours it."
        )
    if "lists" in raw:
        rows = [
            (name, f"{query['matches']:,}", number(query["p50_ms"], 1), number(query["p95_ms"], 1))
            for name, query in raw["lists"]["queries"].items()
        ]
        cpu_ms = raw["lists"]["server_cpu_ms_each"]
        said.append(f"A list cost the API {cpu_ms} ms of processor time in the mean of all kinds:")
        said.append(table(("list of 50", "runs that fit", "p50, ms", "p95, ms"), rows))
    if "submits" in raw:
        submits = raw["submits"]
        cpu_ms = min(sample["server_cpu_ms_each"] for sample in submits["samples"])
        said.append(
            f"Of {submits['sent']:,} submits {submits['accepted']:,} were accepted, with {len(submits['errors'])} errors; one "
            f"cost the API {cpu_ms} ms of processor time, {submits['viewers']} viewers included."
        )
    if "soak" in raw:
        soak = raw["soak"]
        said.append(f"Memory grew by {100 * soak['growth']:.1f} % in a soak of {soak['minutes']:g} minutes.")
    return said


def _kept(has_extremes: bool) -> str:
    return "showed" if has_extremes else "lost"
