"""A batch of runs on one slot of fixed memory: how many are carried out at once, and when the last is done.

    .venv/bin/python -m benchmarks.packing [--runs 24] [--mib 20] [--cuda] [--out docs/results/packing.json]

The same configuration uncompressed and as laser-coded, each batch on a platform of its own: real workers, real training
processes. The slot is a CPU slot whose memory is accounted, which stands for a GPU's: a training process that would hold more
than it was given ends, so nothing is packed beyond what fits. Each process has one core at most. With ``--cuda`` the slot is
the machine's first GPU, whose memory torch keeps within, and ``--mib`` isn't used. At last one run asks for much less than it
needs: it has to be caught, queued again with more, and to succeed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.e2e.platform import FINAL, Platform, start_platform, stop_platform

VARIANTS = {"none": {"kind": "none"}, "laser-coded": {"kind": "laser-coded"}}
SEATS = 16  # more than fit: memory decides


def config(store: dict[str, Any], seed: int, steps: int, device: str) -> dict[str, Any]:
    return {
        "kind": "train",
        "name": f"packing {store['kind']} {seed}",
        "tags": ["packing"],
        "seed": seed,
        "task": {"kind": "sudoku", "size": 4, "train_puzzles": 40, "test_puzzles": 8},
        "model": {"width": 16, "heads": 2, "latent_steps": 2, "cycles": 2},
        "store": store,
        "training": {"steps": steps, "batch_size": 32, "supervision_steps": 4},
        "device": device,
    }


def carry_out(platform: Platform, store: dict[str, Any], runs: int, steps: int, device: str) -> dict[str, Any]:
    """Submits the batch and watches until all have ended."""
    began = time.monotonic()
    ids = [platform.submit(config(store, seed, steps, device)) for seed in range(runs)]
    at_once, reserved, told = [], 0, 0
    while True:
        found = platform.answer("GET", "/runs", params={"tag": "packing", "limit": 200})["items"]
        ended = [run for run in found if run["state"] in FINAL]
        at_once.append(sum(run["state"] == "running" for run in found))
        devices = [device for worker in platform.answer("GET", "/workers")["items"] for device in worker["devices"]]
        reserved = max([reserved, *(device["reserved_bytes"] for device in devices)])
        if len(ended) > told:
            told = len(ended)
            print(f"{store['kind']}: {told} of {runs} done, {at_once[-1]} at work", flush=True)
        if len(ended) == len(ids):
            break
        time.sleep(1)
    wall_s = time.monotonic() - began
    busy = [count for count in at_once if count]
    return {
        "store": store["kind"],
        "succeeded": sum(run["state"] == "succeeded" for run in ended),
        "attempts": sum(run["attempt"] for run in ended),
        "wall_s": round(wall_s, 1),
        "most_at_once": max(at_once),
        "median_at_once": statistics.median(busy),
        "ask_mib": round(ended[0]["memory"] / 2**20, 2),
        "peak_mib": round(statistics.median(run["memory_peak"] or 0 for run in ended) / 2**20, 2),
        "most_reserved_mib": round(reserved / 2**20, 2),
        "step_time_s": round(statistics.median(run["step_time_s"] or 0 for run in ended), 4),
    }


def understate(platform: Platform, steps: int, device: str) -> dict[str, Any]:
    """An uncompressed run that asks for a MiB."""
    made = config(VARIANTS["none"], 1000, steps, device) | {"tags": []}
    run_id = platform.answer("POST", "/runs", params={"gpu_memory": 1}, json=made)["id"]
    run = platform.finished(run_id, 300)
    told = platform.answer("GET", f"/runs/{run_id}/events")["items"]
    reasons = [event["data"]["reason"] for event in told if event["kind"] == "state"]
    caught = [reason for reason in reasons if "back in the queue" in reason]
    return {"asked_mib": 1, "state": run["state"], "attempts": run["attempt"], "caught": caught}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--mib", type=int, default=20, help="memory of the slot")
    parser.add_argument("--cuda", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("docs/results/packing.json"))
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    slot = {} if options.cuda else {"cpu_memory": str(options.mib)}
    found = []
    for store in VARIANTS.values():
        with tempfile.TemporaryDirectory(prefix="packing-") as folder:
            platform = start_platform(Path(folder) / "home", slots=str(SEATS), lease_s="60", **slot)
            try:
                device = "cuda" if options.cuda else "cpu"
                found.append(carry_out(platform, store, options.runs, options.steps, device))
                if store is VARIANTS["none"]:
                    understated = understate(platform, options.steps, device)
            finally:
                stop_platform(platform)
    none, coded = found
    setting = {"runs": options.runs, "steps": options.steps, "slot_mib": None if options.cuda else options.mib}
    setting |= {
        "cores": os.cpu_count(),
        "load_at_end": round(os.getloadavg()[1], 1),
        "device": "cuda" if options.cuda else "a CPU slot of accounted memory",
    }
    ratios = {
        "packed_ratio": round(coded["most_at_once"] / none["most_at_once"], 2),
        "wall_ratio": round(coded["wall_s"] / none["wall_s"], 3),
    }
    options.out.write_text(
        json.dumps({"setting": setting, "batches": found, **ratios, "understated": understated}, indent=1) + "\n"
    )
    print(
        f"packing: {ratios['packed_ratio']} times as many at once, in {ratios['wall_ratio']} of the time; {understated}"
    )


if __name__ == "__main__":
    main()
