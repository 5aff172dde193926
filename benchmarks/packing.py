"""A batch of runs on one slot of fixed memory: how many are carried out at once, and when the last is done.

    .venv/bin/python -m benchmarks.packing [--runs 24] [--mib 110] [--cuda] [--out docs/results/packing.json]

The same configuration uncompressed and as laser-coded, each batch on a platform of its own: real workers, real training
processes. The slot is a CPU slot whose memory is accounted, which stands for a GPU's: a training process that would hold more
than it was given ends, so nothing is packed beyond what fits. Each process has one core at most; the uncompressed batch is
carried out once more by a worker of one seat, whose runs have every core. With ``--cuda`` the slot is the machine's first GPU,
whose memory torch keeps within, and ``--mib`` isn't used. At last one run asks for much less than it needs: it must be caught,
queued again with more, and to succeed.
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

SEATS = 6  # of a worker; uncompressed runs would need six times its memory
BATCHES = {"none": SEATS, "laser-coded": SEATS, "none, every core": 1}  # the store and its worker's seats


def config(store: str, seed: int, steps: int, device: str) -> dict[str, Any]:
    return {
        "kind": "train",
        "name": f"packing {store} {seed}",
        "tags": ["packing"],
        "seed": seed,
        "task": {"kind": "sudoku", "size": 4, "train_puzzles": 80, "test_puzzles": 8},
        "model": {"width": 64, "heads": 2, "latent_steps": 6, "cycles": 3},
        "store": {"kind": store},
        "training": {"steps": steps, "batch_size": 64, "supervision_steps": 4},
        "device": device,
    }


def carry_out(platform: Platform, batch: str, runs: int, steps: int, device: str) -> dict[str, Any]:
    """Submits the batch and watches until all have ended."""
    began, store = time.monotonic(), batch.partition(",")[0]
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
            print(f"{batch}: {told} of {runs} done, {at_once[-1]} at work", flush=True)
        if len(ended) == len(ids):
            break
        time.sleep(1)
    wall_s = time.monotonic() - began
    busy = [count for count in at_once if count]
    return {
        "store": batch,
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
    made = config("none", 1000, steps, device) | {"tags": []}
    run_id = platform.answer("POST", "/runs", params={"gpu_memory": 1}, json=made)["id"]
    run = platform.finished(run_id, 300)
    told = platform.answer("GET", f"/runs/{run_id}/events")["items"]
    reasons = [event["data"]["reason"] for event in told if event["kind"] == "state"]
    caught = [reason for reason in reasons if "back in the queue" in reason]
    return {"asked_mib": 1, "state": run["state"], "attempts": run["attempt"], "caught": caught}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--mib", type=int, default=110, help="memory of the slot")
    parser.add_argument("--cuda", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("docs/results/packing.json"))
    options = parser.parse_args()
    slot = {} if options.cuda else {"cpu_memory": str(options.mib)}
    found = []
    for batch, seats in BATCHES.items():
        with tempfile.TemporaryDirectory(prefix="packing-") as folder:
            platform = start_platform(Path(folder) / "home", slots=str(seats), lease_s="60", **slot)
            try:
                device = "cuda" if options.cuda else "cpu"
                found.append(carry_out(platform, batch, options.runs, options.steps, device))
                if batch == "none":
                    understated = understate(platform, options.steps, device)
            finally:
                stop_platform(platform)
    none, coded, alone = found
    setting = {"runs": options.runs, "steps": options.steps, "slot_mib": None if options.cuda else options.mib}
    setting |= {
        "cores": os.cpu_count(),
        "load_at_end": round(os.getloadavg()[1], 1),
        "device": "cuda" if options.cuda else "a CPU slot of accounted memory",
    }
    ratios = {
        "packed_ratio": round(coded["most_at_once"] / none["most_at_once"], 2),
        "wall_ratio": round(coded["wall_s"] / none["wall_s"], 3),
        "wall_ratio_to_every_core": round(coded["wall_s"] / alone["wall_s"], 3),
    }
    options.out.write_text(
        json.dumps({"setting": setting, "batches": found, **ratios, "understated": understated}, indent=1) + "\n"
    )
    print(
        f"packing: {ratios['packed_ratio']} times as many at once, in {ratios['wall_ratio']} of the time "
        f"({ratios['wall_ratio_to_every_core']} of a worker's whose runs have every core); {understated}"
    )


if __name__ == "__main__":
    main()
