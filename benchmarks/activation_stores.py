"""What each activation store holds between forward and backward, and what its training step costs, beside eager training.

    .venv/bin/python -m benchmarks.activation_stores [--repetitions 7] [--out docs/results/activation_stores.json]

Random weights and puzzles, float32, one thread. Steps are interleaved (every store takes its n-th step before any takes its
next), and a store's time is the median of its ratios to eager's step of the same round, in CPU time of the process.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from laser_core import memory
from laser_core.config import CheckpointStore, LaserFusedStore, LaserStore, ModelConfig, NoneStore, Store
from laser_core.loss import act_loss
from laser_core.model import TRM, Batch
from laser_core.stores import make_store

SHAPES = {  # model, vocabulary, cells, batch
    "4x4, D=64, batch 64": (ModelConfig(width=64, latent_steps=6, cycles=3), 6, 16, 64),
    "9x9, D=256, batch 8": (ModelConfig(width=256, latent_steps=6, cycles=3), 11, 81, 8),
}


def stores(width: int) -> dict[str, Store]:
    """What is compared; ranks are fixed, because energies of random puzzles mean nothing."""
    compared: dict[str, Store] = {
        "none": NoneStore(),
        "checkpoint (block)": CheckpointStore(),
        "checkpoint (call)": CheckpointStore(unit="call"),
        "laser, k = D/4": LaserStore(rank=width // 4, adapt=False),
        "laser-fused, full rank": LaserFusedStore(energy=1.0),
    }
    for divisor in (2, 4, 8):
        compared[f"laser-fused, k = D/{divisor}"] = LaserFusedStore(rank=width // divisor, adapt=False)
    return compared


def trainable(shape: tuple[ModelConfig, int, int, int], store: Store) -> tuple[TRM, Callable[[], Tensor]]:
    """A model and a function that builds the loss of its first supervision step."""
    config, vocabulary, cells, batch_size = shape
    generator = torch.Generator().manual_seed(0)
    model = TRM(config, vocabulary, cells, store=make_store(store), generator=generator)
    inputs, labels = (torch.randint(0, vocabulary, (batch_size, cells), generator=generator) for _ in range(2))
    batch = Batch(inputs, labels, torch.zeros(batch_size, dtype=torch.int64))
    carry = model.initial_carry(batch_size)
    return model, lambda: act_loss(model.supervision_step(carry, batch)[1], labels).total


def compare(shape: tuple[ModelConfig, int, int, int], repetitions: int) -> list[dict[str, Any]]:
    """One row per store: saved bytes and their share of eager's, median step time and ratio to eager's."""
    models = {name: trainable(shape, store) for name, store in stores(shape[0].width).items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    for round_ in range(1, repetitions + 2):  # the first makes the bases and isn't timed
        for name, (model, loss) in models.items():
            began = time.process_time()
            model.store.begin_step(round_)
            loss().backward()  # type: ignore[no-untyped-call]
            model.store.end_step()
            model.zero_grad()
            times[name].append(time.process_time() - began)
    rows = []
    for name, (model, loss) in models.items():
        held = memory.measure(model, loss, step=0)
        ratios = [mine / eager for mine, eager in zip(times[name][1:], times["none"][1:], strict=True)]
        rows.append(
            {
                "store": name,
                "saved_bytes": held.saved_bytes,
                "saved_share": held.saved_bytes / held.eager_bytes,
                "step_time_s": statistics.median(times[name][1:]),
                "step_time_ratio": statistics.median(ratios),
                "step_time_ratios": ratios,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("docs/results/activation_stores.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for name, shape in SHAPES.items():
        results[name] = compare(shape, options.repetitions)
        print(f"\n{name}: saved bytes and step time, eager = 1")
        for row in results[name]:
            print(f"  {row['store']:24s} {row['saved_share']:7.3f} {row['step_time_ratio']:7.3f}")
    machine = {"processor": platform.machine(), "torch": str(torch.__version__), "python": platform.python_version()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")
    print(f"\nactivation stores: raw results in {options.out}")


if __name__ == "__main__":
    main()
