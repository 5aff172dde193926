"""A training process that trains nothing: ``ForkServer("tests.worker.standin", SCENARIO)`` says real events."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

from laser_core.events import CheckpointSaved, Log, Metrics, Progress, Result, Started
from worker.job import DONE, FAILED, NO_ROOM, STOPPED, TOO_BIG, Job
from worker.spool import SpoolWriter

STEPS = 20


def main(scenario: str, path: str) -> int:
    job = Job.load(Path(path))
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    spool = SpoolWriter(Path(job.spool))
    if scenario == "mute":  # of steps
        spool.append(Log("here"))
        return STOPPED if told.wait(60) else FAILED
    spool.append(Started(0, STEPS, "cpu", 1, {}))
    if scenario == "environment":
        spool.append(Log(" ".join(sorted(os.environ))))
    if scenario.startswith("saves"):
        return save(scenario, job, spool, told)
    if scenario == "lists":
        spool.append(Log(" ".join(sorted(path.name for path in (Path(job.directory) / "checkpoints").iterdir()))))
    last = STEPS if scenario in ("good", "environment", "unhurried") else STEPS // 2
    for step in range(1, last + 1):
        spool.append(Metrics(step, {"train.loss": 1 / step}))
        spool.append(Progress(step, STEPS, 0.01))
    if scenario == "unhurried":
        time.sleep(1)
    if scenario == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        threading.Event().wait()
    if scenario == "patient":
        told.wait()
        spool.append(CheckpointSaved(last, f"step-{last:08d}", {"model.safetensors": "00"}, 1))
        return STOPPED
    if scenario == "error":
        print("a traceback\nof two lines", file=sys.stderr)
        spool.append(Log("the loss became nan at step 10", "error"))
        return FAILED
    if scenario == "no room":
        spool.append(Log("[Errno 28] No space left on device", "error"))
        return NO_ROOM
    if scenario == "large":
        spool.append(Log(f"out of memory: more than {job.memory_bytes}", "error"))
        return TOO_BIG
    if scenario == "wordless":
        print("libsomething: cannot go on", file=sys.stderr)
        return FAILED
    if scenario == "killed":
        with Path(job.spool).open("ab") as file:
            file.write(b'12345678 {"type":"Metr')  # torn
        os.kill(os.getpid(), signal.SIGKILL)
    spool.append(CheckpointSaved(last, f"step-{last:08d}", {"model.safetensors": "00"}, 1))
    spool.append(Result({"exact_accuracy": 1.0}, "cafe"))
    return DONE


def save(scenario: str, job: Job, spool: SpoolWriter, told: threading.Event) -> int:
    """Every five steps a checkpoint with files, of which the newest two stay, as laser_core.checkpoint does it."""
    spool.append(Log("saves"))
    if scenario == "saves late":
        while not (Path(job.spool).parents[1] / "go").exists():
            time.sleep(0.05)
    folders: list[Path] = []
    for step in range(1, STEPS + 1):
        if scenario != "saves late":  # whose first event is to be a checkpoint
            spool.append(Metrics(step, {"train.loss": 1 / step}))
        if step % 5:
            continue
        folder = Path(job.directory) / "checkpoints" / f"step-{step:08d}"
        folder.mkdir(parents=True)
        content = f"weights of step {step}".encode() * 1000
        (folder / "model.safetensors").write_bytes(content)
        folders.append(folder)
        for old in folders[:-2]:
            shutil.rmtree(old, ignore_errors=True)
        hashes = {"model.safetensors": hashlib.sha256(content).hexdigest()}
        spool.append(CheckpointSaved(step, folder.name, hashes, len(content)))
        if scenario == "saves and stops" and step == 10:
            return STOPPED
    spool.append(Result({"exact_accuracy": 1.0}, "cafe"))
    return DONE
