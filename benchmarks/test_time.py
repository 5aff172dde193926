"""What inference time buys: rollouts under noise, and projection of the latent, on models that training left unfinished.

    .venv/bin/python -m benchmarks.test_time [--out docs/results/test_time.json]

Small MLP-mixer models on 6×6 Sudoku, trained short of their ceiling, each with store ``none`` and with ``laser-fused``, whose
tracked basis the projection takes. Models and finished measurements are kept under ``.cache/bench/test_time/``: a run that
was stopped goes on where it was. One thread.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from laser_core.config import RunConfig, parse_run, to_json
from laser_core.events import Metrics, Result
from laser_core.run import execute

CACHE = Path(".cache/bench/test_time")
SEEDS = (0, 1, 2)
STORES = {"none": {"kind": "none"}, "laser-fused": {"kind": "laser-fused", "rank": 28, "adapt": False}}
SIGMAS = (0.25, 0.5, 1.0)
ROLLOUTS, ROLLOUT_STEPS = 16, 8
RANKS = (8, 16, 24)
ROLLOUT_PUZZLES, PROJECTION_PUZZLES = 200, 128  # measured on, of the test's
PROJECTIONS = (  # store of the model, what is projected onto what and when, ranks
    ("none", {"basis": "measured", "every": "step"}, RANKS),
    ("none", {"basis": "random", "every": "step"}, (16,)),
    ("none", {"basis": "measured", "every": "call"}, (16,)),
    ("none", {"basis": "random", "every": "call"}, (16,)),
    ("none", {"basis": "measured", "every": "call", "states": "both"}, (8, 16)),
    ("none", {"basis": "random", "every": "call", "states": "both"}, (16,)),
    ("laser-fused", {"basis": "tracked", "every": "step"}, RANKS),
)
CHOOSERS = ("halt", "mode", "verifier", "any")


def training(store: str, seed: int) -> dict[str, Any]:
    """A run that ends between 40 and 90 % exact."""
    return {
        "kind": "train",
        "seed": seed,
        "device": "cpu",
        "store": STORES[store],
        "task": {"kind": "sudoku", "size": 6, "train_puzzles": 1000, "test_puzzles": 300},
        "model": {"block": "mlp", "width": 32, "layers": 1, "latent_steps": 3, "cycles": 2},
        "training": {
            "steps": 800,
            "batch_size": 32,
            "learning_rate": 5e-3,
            "warmup_steps": 30,
            "ema": 0.97,
            "supervision_steps": 4,
            "checkpoint_every": 10_000,
        },
    }


def evaluations() -> Iterator[tuple[str, dict[str, Any]]]:
    """Store of the model, and what is measured of it."""
    for sigma in SIGMAS:
        settings = {"rollouts": ROLLOUTS, "noise": sigma, "supervision_steps": ROLLOUT_STEPS}
        yield "none", settings | {"max_puzzles": ROLLOUT_PUZZLES}
    shared = {"supervision_steps": 4, "max_puzzles": PROJECTION_PUZZLES}
    for store, projection, ranks in PROJECTIONS:
        for rank in ranks:
            yield store, shared | {"projection": projection | {"rank": rank}}


def done(config: RunConfig, folder: Path, checkpoint: Path | None = None) -> dict[str, Any]:
    """Result and metrics of a run, carried out unless it already was under ``folder``."""
    kept = folder / "measured.json"
    if kept.exists():
        measured: dict[str, Any] = json.loads(kept.read_text())
        return measured
    curves: dict[str, dict[int, float]] = {}
    values: dict[str, float] = {}
    notes: dict[str, str] = {}
    began = time.process_time()
    for event in execute(config, folder, checkpoint=checkpoint):
        if isinstance(event, Metrics):
            for name, value in event.values.items():
                curves.setdefault(name, {})[event.step] = value
        elif isinstance(event, Result):
            values, notes = event.values, event.notes
    measured = {"values": values, "notes": notes, "curves": curves, "cpu_s": time.process_time() - began}
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = kept.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(measured))
    unfinished.rename(kept)
    return done(config, folder)


def measure() -> list[dict[str, Any]]:
    """One entry per model and measurement: the settings, the result, and the curves in full."""
    entries = []
    for store in STORES:
        for seed in SEEDS:
            config = parse_run(training(store, seed))
            model = CACHE / _key(to_json(config))
            trained = done(config, model)
            accuracy = trained["values"]["exact_accuracy"]
            print(f"{store}, seed {seed}: {accuracy:.3f} exact after training", flush=True)
            entries.append({"store": store, "seed": seed, "kind": "train"} | _kept(trained, ("test.",)))
            for of, settings in evaluations():
                if of != store:
                    continue
                data = {"kind": "eval", "checkpoint": str(model), "device": "cpu"} | settings
                measured = done(parse_run(data), model / _key(settings), model)
                entries.append({"store": store, "seed": seed, "kind": "eval", "settings": settings} | _kept(measured))
    return entries


def _key(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def _kept(
    measured: dict[str, Any], prefixes: tuple[str, ...] = ("rollouts.", "projection.", "steps.", "halting.")
) -> Any:
    curves = {k: list(v.values()) for k, v in measured["curves"].items() if k.startswith(prefixes)}
    return measured | {"curves": curves}


def report(entries: list[dict[str, Any]]) -> Iterator[str]:
    """The tables: means over seeds, with the least and the most."""
    yield f"\nexact accuracy over K rollouts, {ROLLOUT_STEPS} supervision steps"
    for sigma in SIGMAS:
        found = [e["curves"] for e in entries if e.get("settings", {}).get("noise") == sigma]
        for chooser in CHOOSERS:
            curves = [curve[f"rollouts.exact_accuracy.{chooser}"] for curve in found]
            row = "  ".join(f"K={k}: {_spread([c[k - 1] for c in curves])}" for k in (1, 2, 4, 8, ROLLOUTS))
            yield f"  σ={sigma:<5} {chooser:9s} {row}"
    yield "\nexact accuracy / latent drift at multiples of the trained supervision steps"
    alone: set[str] = set()
    for store, settings in evaluations():
        if "projection" in settings:
            found = [e["values"] for e in entries if e["store"] == store and e.get("settings") == settings]
            if store not in alone:
                yield f"  {store:12s} {'left alone':28s} {_multiples(found, 'plain_')}"
                alone.add(store)
            name = " ".join(str(value) for value in settings["projection"].values())
            yield f"  {store:12s} {name:28s} {_multiples(found, '')}"


def _multiples(found: list[dict[str, float]], prefix: str) -> str:
    cells = []
    for m in (1, 2, 4, 8):
        exact, drift = ([v[f"projection.{prefix}{name}_{m}x"] for v in found] for name in ("exact_accuracy", "drift"))
        cells.append(f"{m}×: {_spread(exact)} / {statistics.mean(drift):.3f}")
    return "  ".join(cells)


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.3f} ({min(values):.3f}–{max(values):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/results/test_time.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    entries = measure()
    machine = {"processor": platform.machine(), "torch": str(torch.__version__), "python": platform.python_version()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": machine, "entries": entries}, indent=1) + "\n")
    print("\n".join(report(entries)))
    print(f"\ntest-time scaling: raw results in {options.out}")


if __name__ == "__main__":
    main()
