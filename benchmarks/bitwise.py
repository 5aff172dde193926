"""Gradient checkpointing beside plain training: the same final weights, to the bit.

    .venv/bin/python -m benchmarks.bitwise [--out docs/results/bitwise.json]

The accuracy table's 4×4 run, seed 0, to its last step, and the same with attention; hashes of the final weights.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.accuracy import TASKS
from laser_core.config import parse_run
from laser_core.events import Result
from laser_core.run import execute

STORES: dict[str, dict[str, Any]] = {
    "none": {"kind": "none"},
    "checkpoint per block": {"kind": "checkpoint", "unit": "block"},
    "checkpoint per call": {"kind": "checkpoint", "unit": "call"},
}
BLOCKS = ("mlp", "attention")


def trained(block: str, store: dict[str, Any]) -> dict[str, Any]:
    """sha256 of the final weights, and what the run says of itself."""
    config = TASKS["4x4"].config
    data = {"kind": "train", "device": "cpu", "store": store, **config, "model": config["model"] | {"block": block}}
    with TemporaryDirectory() as directory:
        (result,) = (
            event
            for event in execute(parse_run(data), Path(directory), resume=None, threads=1)
            if isinstance(event, Result)
        )
    return {"weights_sha256": result.weights_sha256} | {
        name: result.values[name] for name in ("exact_accuracy", "steps")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/results/bitwise.json"))
    out = parser.parse_args().out
    rows = []
    for block in BLOCKS:
        for name, store in STORES.items():
            rows.append({"block": block, "store": name, **trained(block, store)})
            print("bitwise:", *rows[-1].values(), flush=True)
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "torch": torch.__version__}
    out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
