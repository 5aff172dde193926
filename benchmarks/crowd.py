"""Runs submitted at once by several clients, every submit sent twice, while others read lists and charts.

    python -m benchmarks.crowd [--runs 200] [--clients 8] [--out docs/results/crowd.json]

Starts a platform of its own, waits until every run is done, and writes what it counted and timed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform as machine
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.platform import FINAL, Platform, start_platform, stop_platform

STEPS = 4


def smallest_run(seed: int) -> dict[str, Any]:
    return {
        "kind": "train",
        "name": f"crowd {seed}",
        "tags": ["crowd"],
        "seed": seed,
        "task": {"kind": "sudoku", "size": 4, "train_puzzles": 8, "test_puzzles": 4},
        "model": {"width": 8, "heads": 1, "layers": 1, "latent_steps": 1, "cycles": 1},
        "training": {"steps": STEPS, "batch_size": 4, "log_every": 1},
    }


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


class Timed:
    """Calls with their durations, errors kept."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.errors: list[str] = []

    def call(self, ask: Callable[[], httpx.Response]) -> httpx.Response | None:
        started = time.perf_counter()
        try:
            response = ask()
        except httpx.HTTPError as error:
            self.errors.append(repr(error))
            return None
        self.seconds.append(time.perf_counter() - started)
        if response.is_error:
            self.errors.append(f"{response.status_code} {response.text[:200]}")
        return response

    def summary(self, name: str) -> dict[str, float]:
        return {f"{name}_p{int(q * 100)}_ms": round(1000 * percentile(self.seconds, q), 1) for q in (0.5, 0.95, 0.99)}


def submit_and_watch(platform: Platform, runs: int, clients: int) -> dict[str, Any]:
    """Counts and times of ``runs`` runs submitted by ``clients`` threads at once."""
    submits, reads, done = Timed(), Timed(), threading.Event()
    ids: list[str] = []

    def submit(seed: int) -> None:
        for _ in range(2):  # a client that never saw the first answer sends again
            response = submits.call(
                lambda: platform.http.post(
                    "/runs", json=smallest_run(seed), headers={"Idempotency-Key": f"crowd-{seed}"}
                )
            )
            if response is not None and response.is_success:
                ids.append(response.json()["id"])

    def read() -> None:
        while not done.wait(0.05):
            listed = reads.call(lambda: platform.http.get("/runs", params={"sort": "-created", "limit": 50}))
            if listed is not None and listed.is_success and listed.json()["items"]:
                latest = listed.json()["items"][-1]["id"]
                reads.call(lambda: platform.http.get(f"/runs/{latest}/metrics", params={"points": 500}))  # noqa: B023

    started = time.perf_counter()
    reader = threading.Thread(target=read)
    reader.start()
    try:
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(submit, range(runs)))
        accepted_s = time.perf_counter() - started
        wait_for_all(platform, set(ids))
    finally:
        done.set()
        reader.join()
    return {
        "runs": runs,
        "clients": clients,
        "accepted": len(ids) // 2,
        "distinct_runs": len(set(ids)),
        "submit_phase_s": round(accepted_s, 2),
        "all_done_s": round(time.perf_counter() - started, 1),
        "reads": len(reads.seconds),
        **submits.summary("submit"),
        **reads.summary("read"),
        **outcome(platform, sorted(set(ids))),
        "errors": submits.errors + reads.errors,
    }


def wait_for_all(platform: Platform, ids: set[str]) -> None:
    waited = 0
    while True:
        query = {"tag": "crowd", "state": sorted(FINAL), "limit": 1}
        total = platform.answer("GET", "/runs", params=query)["total"]
        if total >= len(ids):
            return
        if waited % 20 == 0:
            print(f"crowd: {total} of {len(ids)} runs done", flush=True)
        time.sleep(0.5)
        waited += 1


def outcome(platform: Platform, ids: list[str]) -> dict[str, Any]:
    ended = [platform.run(run_id) for run_id in ids]
    steps = [[step for step, _ in platform.points(run_id, "train.loss")] for run_id in ids]
    return {
        "succeeded": sum(run["state"] == "succeeded" for run in ended),
        "attempts_most": max(run["attempt"] for run in ended),
        "doubled_points": sum(len(points) - len(set(points)) for points in steps),
        "missing_points": sum(len(set(range(1, STEPS + 1)) - set(points)) for points in steps),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=200)
    arguments.add_argument("--clients", type=int, default=8)
    arguments.add_argument("--out", type=Path, default=Path("docs/results/crowd.json"))
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="laser-") as folder:
        platform = start_platform(Path(folder) / "lab", slots="2")
        try:
            report = submit_and_watch(platform, options.runs, options.clients)
        finally:
            stop_platform(platform)
    hardware = {"cpus": os.cpu_count(), "machine": machine.machine(), "python": machine.python_version()}
    command = f"python -m benchmarks.crowd --runs {options.runs} --clients {options.clients}"
    options.out.write_text(json.dumps({"command": command, "hardware": hardware, **report}, indent=1) + "\n")
    print(f"crowd: {report['succeeded']} of {report['runs']} succeeded once each; raw figures in {options.out}")


if __name__ == "__main__":
    main()
