"""How soon a run starts on an idle worker, by the times of its own events."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.crowd import smallest_run
from benchmarks.service.timing import load, median
from tests.e2e.platform import start_platform, stop_platform


def measure(count: int) -> dict[str, Any]:
    """One run after another. "running" is the state; "training" is when the training process has its model, torch loaded."""
    samples = []
    with tempfile.TemporaryDirectory(prefix="bench-service-") as folder:
        platform = start_platform(Path(folder) / "lab", slots="1")
        try:
            for seed in range(count):
                run = platform.finished(platform.submit(smallest_run(seed)), 300)
                assert run["state"] == "succeeded", run["reason"]
                events = platform.answer("GET", f"/runs/{run['id']}/events")["items"]
                running = next(e["time"] for e in events if e["kind"] == "state" and e["data"]["state"] == "running")
                training = next(e["time"] for e in events if e["kind"] == "started")
                times = {"running_s": running - run["created_at"], "training_s": training - run["created_at"]}
                samples.append({name: round(value, 3) for name, value in times.items()} | {"load": load()})
        finally:
            stop_platform(platform)
    figures = {name: round(median(sample[name] for sample in samples), 3) for name in ("running_s", "training_s")}
    print(
        f"start: running after {figures['running_s']} s, training after {figures['training_s']} s (medians)", flush=True
    )
    return {**figures, "samples": samples}
