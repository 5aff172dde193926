"""The runs of a storm, and what each gives when nobody disturbs it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from laser_core.config import parse_run, to_json
from laser_core.events import Metrics, Result, Trace
from worker import spool
from worker.job import Job

STORES: tuple[dict[str, Any], ...] = ({"kind": "none"}, {"kind": "laser", "energy": 0.9}, {"kind": "laser-fused"})
TIMED = {"time.step_s"}  # its values are times; that each step has one is checked all the same


@dataclass(frozen=True)
class Undisturbed:
    """Every point by (key, step), every trace's (site, update, step, rank), and the final weights."""

    points: dict[tuple[str, int], float]
    traces: set[tuple[str, int, int, int]]
    weights_sha256: str


def config(variant: int, steps: int) -> dict[str, Any]:
    """A short run that saves often; as many variants as you like, each with a store and a seed."""
    return {
        "kind": "train",
        "name": f"chaos {variant}",
        "tags": ["chaos"],
        "seed": variant,
        "task": {"kind": "sudoku", "size": 4, "train_puzzles": 40, "test_puzzles": 20},
        "model": {"width": 16, "heads": 2, "latent_steps": 2, "cycles": 2},
        "store": STORES[variant % len(STORES)],
        "training": {
            "steps": steps,
            "batch_size": 8,
            "warmup_steps": 5,
            "log_every": 1,
            "checkpoint_every": 10,
            "evaluate_every": 40,
        },
    }


def undisturbed(run: dict[str, Any]) -> Undisturbed:
    """From the training process alone, in an environment like a worker's."""
    with tempfile.TemporaryDirectory(prefix="calm-") as name:
        folder = Path(name)
        file = folder / "spool"
        checked = to_json(parse_run(run))
        Job(checked, str(folder), None, {}, None, str(file), 1).save(folder / "job.json")
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        subprocess.run(
            [sys.executable, "-m", "worker.trainer", str(folder / "job.json")], env=environment, check=True, timeout=300
        )
        events, _ = spool.read(file, 0, 2**62)
    points = {(key, e.step): x for e in events if isinstance(e, Metrics) for key, x in e.values.items()}
    traces = {(e.site, e.update, e.step, e.rank) for e in events if isinstance(e, Trace)}
    (result,) = (event for event in events if isinstance(event, Result))
    return Undisturbed(points, traces, result.weights_sha256)
