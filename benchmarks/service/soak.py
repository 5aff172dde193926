"""Everything at once for a while: does the API's memory grow?"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.crowd import smallest_run
from benchmarks.service.servers import our_server
from benchmarks.service.submits import watching
from benchmarks.service.timing import load, median

VIEWERS = 5
PERIOD_S = 0.2  # between two rounds of a submit, a cancel, a list, a chart and a log
SAMPLE_S = 5.0
WARM = 0.2  # of the time: caches and threads are still being made


def measure(minutes: float) -> dict[str, Any]:
    """Resident memory of the API while runs are submitted, cancelled, listed, read and watched."""
    samples: list[dict[str, float]] = []
    rounds, errors = 0, []
    with tempfile.TemporaryDirectory(prefix="bench-service-") as folder, our_server(Path(folder)) as server:
        client, began, due = server.client(), time.monotonic(), 0.0
        with watching(server, VIEWERS):
            while (elapsed := time.monotonic() - began) < 60 * minutes:
                if elapsed >= due:
                    samples.append({"s": round(elapsed, 1), "rss_mib": round(server.rss_mib(), 1), "load": load()})
                    due += SAMPLE_S
                try:
                    run_id = json.loads(client.ask("POST", "/api/v1/runs", json.dumps(smallest_run(rounds)).encode()))[
                        "id"
                    ]
                    for method, path in (
                        ("POST", f"{run_id}/cancel"), ("GET", ""), ("GET", f"{run_id}/metrics"), ("GET", f"{run_id}/logs"),
                    ):  # fmt: skip
                        client.ask(method, f"/api/v1/runs/{path}".rstrip("/"))
                except Exception as error:
                    errors.append(repr(error)[:300])
                rounds += 1
                time.sleep(max(0.0, began + rounds * PERIOD_S - time.monotonic()) if elapsed < rounds * PERIOD_S else 0)
    warm = [sample["rss_mib"] for sample in samples if sample["s"] >= WARM * 60 * minutes]
    third = max(1, len(warm) // 3)
    growth = median(warm[-third:]) / median(warm[:third]) - 1
    print(f"soak: {minutes:g} minutes, {rounds} rounds, memory grew by {100 * growth:.1f} %", flush=True)
    return {"minutes": minutes, "rounds": rounds, "growth": round(growth, 4), "errors": errors, "samples": samples}
