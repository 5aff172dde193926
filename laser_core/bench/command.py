"""The command line of the benchmark, and its file."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from laser_core.bench import front
from laser_core.bench.breakdown import breakdown
from laser_core.bench.depth import depths
from laser_core.bench.limit import trackers
from laser_core.bench.scales import BLOCKS, CORE, GPU, QUICK, TINY, Scale
from laser_core.bench.subject import subject
from laser_core.bench.table import depth_table, front_table, limit_table, profile_table
from laser_core.config import ConfigError, Device, Problem, to_json
from laser_core.device import check_precision, choose_device, device_name, processor, versions

SECTIONS = {"front": "rows", "limit": "limit", "depth": "depth", "profile": "profile"}  # and their names in the file
DEPTH_STEPS = 3  # training steps before a depth's bytes are counted, if not given
PROFILED = 5  # steps
TELL_EVERY_S = 10.0  # where no terminal shows one line that changes


def main(words: Sequence[str]) -> int:
    """Measures, prints tables and writes the file; the exit status."""
    options = _options(words)
    scale, device = _scale(options), choose_device(options.device)
    if scale.half:
        check_precision(device, "bfloat16")
    if scale is GPU and device.type != "cuda":
        raise ConfigError(Problem("--gpu", "no GPU is usable here; add --tiny to try the command on the CPU"))
    scale = dataclasses.replace(scale, blocks=tuple(block for block in scale.blocks if block in options.blocks))
    if options.repetitions:
        scale = dataclasses.replace(scale, repetitions=options.repetitions)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        report = _measured(scale, options, device)
    finally:
        torch.set_num_threads(threads)
    tables = (make(report) for make in (front_table, limit_table, depth_table, profile_table))
    sys.stdout.write("\n\n".join(filter(None, tables)) + f"\n\nbench: raw results in {options.out}\n")
    return 0


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m laser_core bench", description="Measures every activation store beside eager training."
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="the JSON file to write; it grows as sections are done")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add("--quick", action="store_true", help="a small model and the main stores alone, within ten minutes")
    add("--gpu", action="store_true", help="width 512, batch 768, bfloat16: peak memory and samples per second")
    add("--tiny", action="store_true", help="with --gpu: a model of no interest, to try the command anywhere")
    add("--cache", type=Path, default=Path(".cache/bench/front"), help="where trained weights are kept")
    add(
        "--sections",
        nargs="+",
        choices=tuple(SECTIONS),
        default=tuple(SECTIONS),
        help="what to measure, beside what the file holds already; with --gpu the front alone",
    )
    add("--blocks", nargs="+", choices=BLOCKS, default=BLOCKS, help="mixers to measure; with --gpu attention alone")
    add("--repetitions", type=int, default=0, help="rounds that count, if not the usual ones")
    add("--depth-steps", type=int, default=DEPTH_STEPS, help="training steps before a depth's bytes are counted")
    options = parser.parse_args(words)
    if options.quick and options.gpu:
        parser.error("--quick and --gpu are two sizes: choose one")
    if options.tiny and not options.gpu:
        parser.error("--tiny goes with --gpu")
    if options.gpu and "attention" not in options.blocks:
        parser.error("--gpu measures attention alone")
    if options.repetitions < 0 or options.depth_steps < 1:
        parser.error("expected --repetitions and --depth-steps of at least 1")
    return options


def _scale(options: argparse.Namespace) -> Scale:
    if options.gpu:
        return TINY if options.tiny else GPU
    return QUICK if options.quick else CORE


def _measured(scale: Scale, options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """The report, written whenever a part of it is done."""
    sections = ("front",) if scale.half else options.sections
    report: dict[str, Any] = {"rows": [], "hardware": hardware(device), "config": _config(scale, device)}
    report |= _earlier(options.out, report, [SECTIONS[name] for name in SECTIONS if name not in sections])
    with Teller() as tell:
        for block in scale.blocks:
            for latent_steps in scale.latent_steps if set(sections) - {"depth"} else ():  # that one trains its own
                run = scale.run(block, latent_steps, _name(device))
                of = subject(run, scale.mid, device, options.cache, tell)
                field = front.contenders(of, scale.compared) if "front" in sections else []
                for stage in scale.stages if field else ():
                    report["rows"] += front.compare(of, stage, field, scale.repetitions, tell)
                    _write(report, options.out)
            if "limit" in sections:
                report.setdefault("limit", {})[block] = trackers(of, scale.consecutive, tell)
            if "profile" in sections:
                report.setdefault("profile", {})[block] = breakdown(of, "late", min(PROFILED, scale.repetitions), tell)
            _write(report, options.out)
            if "depth" in sections:
                report.setdefault("depth", []).extend(depths(scale, block, options.depth_steps, device, tell))
    report["hardware"]["load_at_end"] = _load()
    _write(report, options.out)
    return report


def _earlier(path: Path, report: dict[str, Any], wanted: Sequence[str]) -> dict[str, Any]:
    """The sections that the file holds already, if they were measured with the same settings on the same machine."""
    try:
        found = json.loads(path.read_bytes())
        alike = [
            {"config": of["config"], "hardware": {k: v for k, v in of["hardware"].items() if not k.startswith("load")}}
            for of in (found, json.loads(json.dumps(report)))
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {name: found[name] for name in wanted if name in found} if alike[0] == alike[1] else {}


class Teller:
    """Says what is at work on the standard error: a line that changes on a terminal, else one now and then."""

    def __init__(self) -> None:
        self._stream, self._told_at = sys.stderr, 0.0

    def __enter__(self) -> Teller:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream.isatty():
            self._stream.write("\r\x1b[K")

    def __call__(self, text: str) -> None:
        if self._stream.isatty():
            self._stream.write(f"\r\x1b[Kbench: {text}")
        elif time.monotonic() - self._told_at >= TELL_EVERY_S:
            self._told_at = time.monotonic()
            self._stream.write(f"bench: {text}\n")
        self._stream.flush()


def hardware(device: torch.device) -> dict[str, Any]:
    """What the numbers were measured on, and how busy it was."""
    on_gpu = device.type == "cuda"
    return {
        "device": device_name(device), "processor": processor(), "cores": os.cpu_count(),
        "gpu_memory_bytes": torch.cuda.get_device_properties(device).total_memory if on_gpu else None,
        "clock": "wall time" if on_gpu else "CPU time of the process",
        "peak": "CUDA allocator" if on_gpu else "allocations recorded by torch.profiler",
        "versions": versions(), "load_at_start": _load(),
    }  # fmt: skip


def _load() -> tuple[float, ...] | None:
    return os.getloadavg() if hasattr(os, "getloadavg") else None


def _config(scale: Scale, device: torch.device) -> dict[str, Any]:
    runs = [scale.run(block, n, _name(device)) for block in scale.blocks for n in scale.latent_steps]
    stores = {f"{each.name}, {each.setting}": to_json(each.store) for each in scale.compared}
    return {
        "runs": [to_json(run) for run in runs], "stores": stores, "repetitions": scale.repetitions,
        "stages": {"init": 0, "mid": scale.mid, "late": scale.training.steps},
    }  # fmt: skip


def _name(device: torch.device) -> Device:
    return "cuda" if device.type == "cuda" else "cpu"


def _write(report: dict[str, Any], path: Path) -> None:
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)
