"""The service under load, beside MLflow's server.

    .venv/bin/python -m benchmarks.service [--quick] [--only submits lists] [--soak 30] [--out docs/results/bench-service.json]

Installs MLflow into .cache/mlflow once. Parts that weren't measured this time keep their figures in the file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pysqlite3

from benchmarks.service import beside_mlflow, lists, soak, starts, stores, submits
from benchmarks.service.servers import MLFLOW_VERSION, broker
from benchmarks.service.timing import load

OUT = Path("docs/results/bench-service.json")
SEED = 0
# The file's own names, by the part that gives them and the figure there.
KEYS = {
    "ingest_ratio_vs_mlflow": ("beside_mlflow", "ingest", "ratio"),
    "ingest_points_per_s": ("beside_mlflow", "ingest", "points_per_s"),
    "store_points_per_s_sqlite": ("stores", "sqlite"),
    "store_points_per_s_postgres": ("stores", "postgres"),
    "chart_1m_p95_ms": ("beside_mlflow", "chart", "p95_ms"),
    "chart_ratio_vs_mlflow": ("beside_mlflow", "chart", "ratio"),
    "list_100k_p95_ms": ("lists", "p95_ms"),
    "submits_per_s": ("submits", "per_s"),
    "submit_p99_ms": ("submits", "p99_ms"),
    "submit_to_running_median_s": ("starts", "running_s"),
    "submit_to_training_median_s": ("starts", "training_s"),
}


def parts(quick: bool, soak_minutes: float, seeded: Path | None) -> dict[str, Callable[[], dict[str, Any]]]:
    """What is measured, in this order."""
    rounds = 3 if quick else 7
    made: dict[str, Callable[[], dict[str, Any]]] = {
        "stores": lambda: stores.measure(rounds, 400_000, SEED),
        "submits": lambda: _with_broker(rounds, 800 if quick else 4000),
        "starts": lambda: starts.measure(5 if quick else 15),
        "lists": lambda: lists.measure(100_000, 8 if quick else 40, SEED, seeded),
        "beside_mlflow": lambda: beside_mlflow.measure(rounds, 20_000 if quick else 100_000, 1_000_000, SEED),
    }
    if soak_minutes:
        made["soak"] = lambda: soak.measure(soak_minutes)
    return made


def _with_broker(rounds: int, count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as folder, broker(Path(folder)) as url:
        return submits.measure(rounds, count, url)


def hardware() -> dict[str, Any]:
    return {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}


def versions() -> dict[str, str]:
    ours = {name: version(name) for name in ("laser-lab", "fastapi", "uvicorn", "sqlalchemy", "psycopg")}
    return ours | {"mlflow": MLFLOW_VERSION, "sqlite": pysqlite3.sqlite_version, "postgresql": "17"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and points: within 20 minutes on 2 cores")
    parser.add_argument("--only", nargs="+", default=[], help="parts to measure; all without")
    parser.add_argument("--soak", type=float, default=0, metavar="MINUTES", help="also: memory over so long")
    parser.add_argument(
        "--seeded", type=Path, metavar="HOME", help="one that benchmarks.seed has filled, to save minutes"
    )
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    made = parts(options.quick, options.soak, options.seeded)
    if unknown := set(options.only) - made.keys():
        sys.exit(f"bench-service: no part {', '.join(sorted(unknown))}; there are {', '.join(made)}")
    report = json.loads(options.out.read_text()) if options.out.exists() else {}
    raw = report.get("raw", {})
    for name, measure in made.items():
        if options.only and name not in options.only:
            continue
        began, busy = time.monotonic(), load()
        raw[name] = measure() | {"load_before": busy, "took_s": 0.0, "quick": options.quick, "hardware": hardware()}
        raw[name]["took_s"] = round(time.monotonic() - began, 1)
        _write(options.out, raw)  # a later part that fails takes nothing with it
    print(f"bench-service: {options.out}")


def _write(out: Path, raw: dict[str, Any]) -> None:
    figures: dict[str, Any] = {}
    for key, (part, *path) in KEYS.items():
        value: Any = raw.get(part)
        for name in path:
            value = None if value is None else value[name]
        figures[key] = value
    command = "make bench-service" + (" QUICK=1" if any(part["quick"] for part in raw.values()) else "")
    report = figures | {"command": command, "seed": SEED, "hardware": hardware(), "versions": versions(), "raw": raw}
    out.write_text(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
