"""The list of 100,000 runs over HTTP: filtered, sorted by a metric, and pages far down."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from benchmarks import seed
from benchmarks.service.servers import Http, our_server
from benchmarks.service.timing import load, median, p95_ms, rounded, timed
from store import database
from store.settings import Settings

BY_METRIC = "-metric.test.exact_accuracy"
QUERIES: dict[str, list[tuple[str, str]]] = {
    "newest": [],
    "by metric": [("sort", BY_METRIC)],
    "by metric, rising": [("sort", "metric.train.loss")],
    "failed, by metric": [("state", "failed"), ("sort", BY_METRIC)],
    "one store, by metric": [("store", "laser-coded"), ("sort", BY_METRIC)],
    "a tag, by metric": [("tag", "ablation"), ("sort", BY_METRIC)],
    "two tags and a state, by metric": [
        ("tag", "ablation"), ("tag", "paper"), ("state", "succeeded"), ("sort", BY_METRIC)
    ],
    "a word, by metric": [("text", "width 64"), ("sort", BY_METRIC)],
    "a word that few have, by metric": [("text", "long run"), ("sort", BY_METRIC)],
}  # fmt: skip


def measure(runs: int, repeats: int, seed_number: int, seeded: Path | None = None) -> dict[str, Any]:
    """Every query ``repeats`` times in turn, pages of 50, and the page that the first one's cursor gives. ``seeded`` is a home
    that ``benchmarks.seed`` has filled; a new one is made without."""
    with contextlib.ExitStack() as stack:
        home = seeded or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-service-")))
        took_s = 0.0 if seeded else timed(lambda: _seed(home, runs, seed_number))
        server = stack.enter_context(our_server(home))
        before_s = server.cpu_s()
        seconds, totals = _ask_all(server.client(), repeats)
        cpu_s = server.cpu_s() - before_s
    every = [second for of in seconds.values() for second in of]
    print(f"lists: p95 {p95_ms(every)} ms", flush=True)
    return {
        "p95_ms": p95_ms(every),
        "runs": totals["newest"],
        "server_cpu_ms_each": round(1000 * cpu_s / len(every), 1),
        "seed_s": round(took_s, 1),
        "queries": {
            name: {
                "matches": totals[name],
                "p50_ms": round(1000 * median(of), 1),
                "p95_ms": p95_ms(of),
                "seconds": rounded(of),
            }
            for name, of in seconds.items()
        },
        "load": load(),
    }


def _seed(home: Path, runs: int, seed_number: int) -> None:
    engine = database.connect(Settings(home=home).database_url)
    database.migrate(engine)
    seed.seed(engine, runs, 10_000, seed_number)
    engine.dispose()


def _ask_all(client: Http, repeats: int) -> tuple[dict[str, list[float]], dict[str, int]]:
    paths = {name: f"/api/v1/runs?{urlencode(query)}" for name, query in QUERIES.items()}
    first = {name: client.json("GET", path) for name, path in paths.items()}
    cursor = client.json("GET", f"{paths['by metric']}&limit=200")["next_cursor"]
    paths["by metric, further down"] = f"{paths['by metric']}&{urlencode({'cursor': cursor})}"
    first["by metric, further down"] = client.json("GET", paths["by metric, further down"])
    seconds: dict[str, list[float]] = {name: [] for name in paths}
    for _ in range(repeats):
        for name, path in paths.items():
            seconds[name].append(timed(lambda path=path: client.ask("GET", path)))  # type: ignore[misc]
    return seconds, {name: page["total"] for name, page in first.items()}
