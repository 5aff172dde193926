"""A run's curves as TensorBoard event files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from client.curves import Curves
from client.errors import BadInput
from client.transport import Json


def write_events(run: Json, curves: Curves, folder: Path) -> None:
    """Writes every point under ``folder/<run id>``, which TensorBoard shows as one run. It
    keeps values as float32. Raises BadInput without tensorboardX, or where the folder has events of the run already."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise BadInput("tensorboardX isn't installed: pip install tensorboardX") from error
    target = folder / run["id"]
    if any(target.glob("events.out.tfevents.*")):
        raise BadInput(f"{target} holds events already, and TensorBoard would show both; remove it or choose another.")
    at = clock(run)
    try:
        with SummaryWriter(str(target)) as writer:
            writer.add_text("config", f"```json\n{json.dumps(run['config'], indent=2)}\n```", walltime=at(0))
            for key, curve in curves.items():
                for step, value in zip(curve.steps.tolist(), curve.values.tolist(), strict=True):
                    writer.add_scalar(key, value, step, walltime=at(step))
    except OSError as error:
        raise BadInput(f"{target} can't be written: {error.strerror or error}") from error


def clock(run: Json) -> Callable[[int], float]:
    """When a step was done, in seconds since 1970: points are kept by step alone, so this follows from the run's pace."""
    start, step_time_s = run["started_at"] or run["created_at"], run["step_time_s"] or 0.0
    return lambda step: float(start + step * step_time_s)
