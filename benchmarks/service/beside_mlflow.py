"""The same work through both servers in turn: taking in points, and drawing a curve of a million."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import seed
from benchmarks.service.servers import Server, install_mlflow, mlflow_server, our_server
from benchmarks.service.timing import load, median, p95_ms, rounded, timed, together
from laser_core.config import parse_run
from store import access, claims, database
from store.settings import Settings
from store.submit import create_run

CLIENTS = 2  # at once, each with a run of its own
KEYS = 10  # metrics of a run
OURS_PER_BATCH = 1000  # steps: 10,000 points
MLFLOW_PER_BATCH = 100  # steps: 1,000 metrics, the most that it takes
CHART_POINTS = 1000
LEASE_S = 86_400.0
EXPERIMENT = "0"  # MLflow's own first one
RUNS = "/api/2.0/mlflow/runs"
HISTORY = "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval"


def measure(rounds: int, points: int, chart_points: int, seed_number: int) -> dict[str, Any]:
    """``points`` per round and side over CLIENTS clients; charts of ``chart_points`` points."""
    install_mlflow()
    with (
        tempfile.TemporaryDirectory(prefix="bench-service-") as folder,
        _both(Path(folder), chart_points, seed_number) as (ours, theirs, long_runs),
    ):
        rng = np.random.default_rng(seed_number)
        return {
            "ingest": _ingest(ours, theirs, rounds, points // (CLIENTS * KEYS), rng),
            "chart": _charts(ours, theirs, long_runs, rounds),
        }


@contextlib.contextmanager
def _both(folder: Path, chart_points: int, seed_number: int) -> Iterator[tuple[Server, Server, tuple[str, str]]]:
    """Both servers, and their runs that have a curve of ``chart_points`` points, the same ones."""
    engine = database.connect(Settings(home=folder / "ours").database_url)
    database.migrate(engine)
    long_run = seed.seed(engine, 1, chart_points, seed_number).long_run
    engine.dispose()
    with our_server(folder / "ours") as ours, mlflow_server(folder / "mlflow") as theirs:
        their_run = _start_theirs(theirs, 1)[0]
        curve = ours.client().json("GET", f"/api/v1/runs/{long_run}/metrics?keys={seed.LONG_KEY}&points=100000")
        assert curve["series"][0]["count"] >= chart_points
        _give_mlflow(theirs, their_run, chart_points, seed_number)
        yield ours, theirs, (long_run, their_run)


# --- points ------------------------------------------------------------------------------------------------------------


def _ingest(ours: Server, theirs: Server, rounds: int, steps: int, rng: np.random.Generator) -> dict[str, Any]:
    samples = []
    for number in range(rounds):
        values = rng.normal(size=(KEYS, steps))
        sample: dict[str, Any] = {"points": CLIENTS * KEYS * steps, "load": load()}
        sides = [("ours", _our_bodies, ours, _start_ours), ("mlflow", _their_bodies, theirs, _start_theirs)]
        for name, bodies, server, start in sides if number % 2 else reversed(sides):
            work = [bodies(run, values) for run in start(server, CLIENTS)]
            took = together([lambda batches=batches, server=server: _send(server, batches) for batches in work])  # type: ignore[misc]
            sample |= {f"{name}_s": took, f"{name}_points_per_s": round(sample["points"] / took)}
        sample["ratio"] = round(sample["mlflow_s"] / sample["ours_s"], 2)
        samples.append(sample)
        print(f"ingest: {sample['ours_points_per_s']} points/s, MLflow {sample['mlflow_points_per_s']}", flush=True)
    return {
        "ratio": median(sample["ratio"] for sample in samples),
        "points_per_s": median(sample["ours_points_per_s"] for sample in samples),
        "mlflow_points_per_s": median(sample["mlflow_points_per_s"] for sample in samples),
        "samples": samples,
    }


def _send(server: Server, batches: list[tuple[str, bytes]]) -> None:
    client = server.client()
    for path, body in batches:
        client.ask("POST", path, body)
    client.close()


def _our_bodies(run_id: str, values: Any) -> list[tuple[str, bytes]]:
    made = []
    for first in range(0, values.shape[1], OURS_PER_BATCH):
        steps = list(range(first + 1, min(first + OURS_PER_BATCH, values.shape[1]) + 1))
        columns = values[:, first : first + OURS_PER_BATCH].tolist()
        series = [{"key": f"metric-{key}", "steps": steps, "values": column} for key, column in enumerate(columns)]
        made.append((f"/api/v1/runs/{run_id}/metrics", json.dumps({"epoch": 1, "series": series}).encode()))
    return made


def _their_bodies(run_id: str, values: Any) -> list[tuple[str, bytes]]:
    made = []
    for first in range(0, values.shape[1], MLFLOW_PER_BATCH):
        logged = [
            {"key": f"metric-{key}", "value": value, "timestamp": 1_700_000_000_000 + step, "step": step}
            for key, column in enumerate(values[:, first : first + MLFLOW_PER_BATCH].tolist())
            for step, value in enumerate(column, first + 1)
        ]
        made.append((f"{RUNS}/log-batch", json.dumps({"run_id": run_id, "metrics": logged}).encode()))
    return made


def _start_ours(server: Server, count: int) -> list[str]:
    """New runs in a worker's hands under epoch 1, put there through the store as a worker does."""
    settings = Settings(home=server.home)
    engine = database.connect(settings.database_url)
    owner = access.ensure_local_user(engine)[0].id
    started = []
    for _ in range(count):
        create_run(engine, parse_run({"kind": "train"}), owner)
        claim = claims.claim_run(engine, "benchmark", LEASE_S, settings=settings)
        assert claim is not None
        claims.mark_running(engine, claim.run_id, claim.epoch)
        started.append(claim.run_id)
    engine.dispose()
    return started


def _start_theirs(server: Server, count: int) -> list[str]:
    client = server.client()
    made = [client.json("POST", f"{RUNS}/create", {"experiment_id": EXPERIMENT}) for _ in range(count)]
    client.close()
    return [answer["run"]["info"]["run_id"] for answer in made]


# --- charts ------------------------------------------------------------------------------------------------------------


def _give_mlflow(server: Server, run_id: str, points: int, seed_number: int) -> None:
    """The same curve in MLflow's tables: over HTTP a million points would take it minutes."""
    curve = seed.long_curve(points, np.random.default_rng(seed_number))
    rows = [
        (seed.LONG_KEY, value, 1_700_000_000_000 + step, run_id, step, 0) for step, value in enumerate(curve.tolist())
    ]
    with contextlib.closing(sqlite3.connect(server.home / "mlflow.db", timeout=60)) as connection, connection:
        columns = "(key, value, timestamp, run_uuid, step, is_nan)"
        for table, values in (("metrics", rows), ("latest_metrics", rows[-1:])):
            connection.executemany(f"INSERT INTO {table} {columns} VALUES (?, ?, ?, ?, ?, ?)", values)


def _charts(ours: Server, theirs: Server, long_runs: tuple[str, str], rounds: int) -> dict[str, Any]:
    """Seconds of every chart, in turn; whether the greatest and least value of the whole curve were in it."""
    our_path = f"/api/v1/runs/{long_runs[0]}/metrics?keys={seed.LONG_KEY}&points={CHART_POINTS}"
    their_path = f"{HISTORY}?run_ids={long_runs[1]}&metric_key={seed.LONG_KEY}&max_results={CHART_POINTS}"
    our_client, their_client = ours.client(), theirs.client()
    our_s: list[float] = []
    their_s: list[float] = []
    for _ in range(rounds):
        our_s += [timed(lambda: our_client.ask("GET", our_path)) for _ in range(20)]
        their_s.append(timed(lambda: their_client.ask("GET", their_path)))
    (series,) = our_client.json("GET", our_path)["series"]
    shown = [point["value"] for point in their_client.json("GET", their_path)["metrics"]]
    print(f"chart: p95 {p95_ms(our_s)} ms, MLflow {p95_ms(their_s)}", flush=True)
    return {
        "p95_ms": p95_ms(our_s),
        "mlflow_p95_ms": p95_ms(their_s),
        "ratio": round(median(their_s) / median(our_s), 2),
        "points_shown": len(series["steps"]),
        "has_extremes": {max(series["values"]), min(series["values"])} == set(seed.SPIKES),
        "mlflow_points_shown": len(shown),
        "mlflow_has_extremes": {max(shown), min(shown)} == set(seed.SPIKES),
        "seconds": rounded(our_s),
        "mlflow_seconds": rounded(their_s),
        "load": load(),
    }
