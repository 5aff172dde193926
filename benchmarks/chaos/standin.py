"""A training process that trains nothing, for scenarios about the queue and the database.

It says ``training.steps`` steps of a configuration, KEYS points each, at the pace that its name asks for (``… 20 steps/s``).
"""

from __future__ import annotations

import math
import re
import signal
import threading
import time
from pathlib import Path

from laser_core.events import CheckpointSaved, Metrics, Progress, Result, Started
from worker.job import DONE, STOPPED, Job
from worker.spool import SpoolWriter

KEYS = 50
SAVE_EVERY_S = 5.0


def value(key: int, step: int) -> float:
    """What the point must be, whoever says it."""
    return math.sin(step * (key + 1) / 97)


def main(path: str) -> int:
    job = Job.load(Path(path))
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    steps = int(job.config["training"]["steps"])
    paced = re.search(r"(\d+) steps/s", job.config["name"])
    pause_s = 1 / int(paced[1]) if paced else 0.0
    first = int(job.resume.removeprefix("step-")) if job.resume else 0
    spool, saved_at = SpoolWriter(Path(job.spool)), time.monotonic()
    spool.append(Started(first, steps, "cpu", 1, {}))
    for step in range(first + 1, steps + 1):
        spool.append(Metrics(step, {f"key{key:02d}": value(key, step) for key in range(KEYS)}))
        is_due = time.monotonic() - saved_at > SAVE_EVERY_S
        if step == steps or is_due or told.is_set():
            saved_at = time.monotonic()
            spool.append(Progress(step, steps, pause_s))
            spool.append(CheckpointSaved(step, f"step-{step:08d}", {"model.safetensors": "00"}, 1))
        if told.is_set():
            return STOPPED
        time.sleep(pause_s)
    spool.append(Result({"exact_accuracy": 1.0}, "cafe"))
    return DONE
