"""Plain training (store ``none``) beside a straightforward trainer of the same model and numbers.

    .venv/bin/python -m benchmarks.training_speed [--repetitions 21] [--out docs/results/training_speed.json]

The straightforward step is what a textbook would write around the same model: default AdamW, averaged weights in a Python
loop, the batch drawn in the step, loss and accuracies read and the gradient norm taken at every step. One thread, CPU time
of the process (worker threads count), steps interleaved: each trainer takes its n-th step before any takes its next. Both
must tell the same losses over the first steps, to 1e-5; later the carried recursion amplifies rounding about threefold per
step, whichever trainer it is. The interval is that of the median of ratios (95 %, order statistics).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from laser_core.config import TrainConfig, parse_run
from laser_core.loss import act_loss
from laser_core.model import TRM
from laser_core.optim import rate_factor
from laser_core.tasks import PuzzleTask, prepare
from laser_core.train import Trainer

CPU = torch.device("cpu")
AGREE_STEPS, AGREE = 6, 1e-5
MODES = ("off", "on")
SETTINGS: dict[str, dict[str, Any]] = {
    "attention, 4x4, D=64, B=64": {
        "task": {"kind": "sudoku", "train_puzzles": 500, "test_puzzles": 10},
        "model": {"width": 64, "layers": 2, "latent_steps": 6, "cycles": 3},
        "training": {"batch_size": 64},
    },
    "mixer, 4x4, D=32, B=32": {
        "task": {"kind": "sudoku", "train_puzzles": 500, "test_puzzles": 10},
        "model": {"block": "mlp", "width": 32, "layers": 1, "latent_steps": 3, "cycles": 2},
        "training": {"batch_size": 32},
    },
    "attention, 9x9, D=256, B=8": {
        "task": {"kind": "sudoku", "size": 9, "train_puzzles": 40, "test_puzzles": 1},
        "model": {"width": 256, "layers": 2, "latent_steps": 6, "cycles": 3},
        "training": {"batch_size": 8},
    },
}


class Textbook:
    """The straightforward trainer; its random numbers are those of ``Trainer``."""

    def __init__(self, config: TrainConfig, task: PuzzleTask) -> None:
        start = Trainer(config, task, CPU)
        self.config, self.task, self.step = config.training, task, 0
        self.model: TRM = start.model
        self.averaged = [weight.detach().clone() for weight in self.model.parameters()]
        self.batches = torch.Generator()
        self.batches.set_state(start.batches.get_state())
        self.halting, self.carry = start.halting, start.carry
        betas = (self.config.beta1, self.config.beta2)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), betas=betas, weight_decay=self.config.weight_decay)

    def train_step(self) -> float:
        """One step; its loss."""
        config = self.config
        self.step += 1
        batch = self.task.sample(config.batch_size, self.batches, CPU)
        self.carry, outputs = self.model.supervision_step(self.carry, batch)
        losses = act_loss(outputs, self.carry.data.labels_BS)
        loss = losses.total.item()
        self.optimiser.zero_grad()
        (losses.total / config.batch_size).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.get_total_norm([w.grad for w in self.model.parameters() if w.grad is not None]).item()
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate * rate_factor(config, self.step)
        self.optimiser.step()
        with torch.no_grad():
            for mine, weight in zip(self.averaged, self.model.parameters(), strict=True):
                mine.mul_(config.ema).add_(weight, alpha=1 - config.ema)
        halted_B = self._halted(outputs.halt_logit_B.detach())
        self.carry = dataclasses.replace(self.carry, halted_B=halted_B)
        (losses.exact_B & halted_B).sum().item(), (losses.cell_accuracy_B * halted_B).sum().item()
        losses.lm.item(), losses.halt.item()
        return loss

    def _halted(self, halt_logit_B: Tensor) -> Tensor:
        most, steps_B = self.config.supervision_steps, self.carry.steps_B
        explores_B = torch.rand(len(steps_B), generator=self.halting) < self.config.halt_exploration
        least_B = explores_B * torch.randint(2, most + 1, (len(steps_B),), generator=self.halting)
        return ((steps_B >= most) | (halt_logit_B > 0)) & (steps_B >= least_B)


def compare(sections: dict[str, Any], repetitions: int) -> dict[str, Any]:
    """Step times of both trainers, ours plain and compiled, and every ratio (above 1: ours is quicker)."""
    configs = {mode: _config(sections, mode) for mode in MODES}
    task = _task(configs["off"])
    textbook = Textbook(configs["off"], task)
    ours = {mode: Trainer(config, task, CPU) for mode, config in configs.items()}
    compiling = {mode: _timed(trainer.train_step, time.perf_counter)[0] for mode, trainer in ours.items()}
    sums: dict[str, list[float]] = {"textbook": [textbook.train_step()]}
    sums |= {mode: [_loss_sum(trainer)] for mode, trainer in ours.items()}
    times: dict[str, list[float]] = {name: [] for name in ("textbook", *MODES)}
    for _ in range(repetitions):
        seconds, loss = _timed(textbook.train_step)
        times["textbook"].append(seconds)
        sums["textbook"].append(sums["textbook"][-1] + loss)
        for mode, trainer in ours.items():
            times[mode].append(_timed(trainer.train_step)[0])
            sums[mode].append(_loss_sum(trainer))
    row: dict[str, Any] = {"textbook_step_s": statistics.median(times["textbook"])}
    for mode in MODES:
        pairs = list(zip(sums[mode], sums["textbook"], strict=True))[:AGREE_STEPS]
        difference = max(abs(mine / textbooks - 1) for mine, textbooks in pairs)
        if difference > AGREE:
            raise SystemExit(f"compile {mode}: losses differ from the textbook's by {difference:.1e}, expected {AGREE}")
        ratios = [slow / quick for slow, quick in zip(times["textbook"], times[mode], strict=True)]
        row[f"compile {mode}"] = {
            "speedup": statistics.median(ratios), "interval": interval(ratios), "ratios": ratios,
            "step_s": statistics.median(times[mode]), "first_step_s": compiling[mode], "loss_difference": difference,
        }  # fmt: skip
    return row


def interval(values: list[float]) -> tuple[float, float]:
    """95 % interval of the median from order statistics (binomial), at least the range's share that so few values allow."""
    ordered, n = sorted(values), len(values)
    tail = 0.0
    for rank in range(n // 2):
        tail += math.comb(n, rank) / 2**n
        if tail > 0.025:
            return ordered[max(rank - 1, 0)], ordered[min(n - rank, n - 1)]
    return ordered[0], ordered[-1]


def _timed(function: Any, clock: Any = time.process_time) -> tuple[float, Any]:
    began = clock()
    result = function()
    return clock() - began, result


def _loss_sum(trainer: Trainer) -> float:
    """Sum of all losses so far; float64."""
    return float(trainer.window[0])


def _config(sections: dict[str, Any], mode: str) -> TrainConfig:
    training = sections["training"] | {"compile": mode, "log_every": 10}
    config = parse_run({"kind": "train", "device": "cpu", **sections, "training": training})
    assert isinstance(config, TrainConfig)
    return config


def _task(config: TrainConfig) -> PuzzleTask:
    making = prepare(config.task, {})
    while True:
        try:
            next(making)
        except StopIteration as done:
            task: PuzzleTask = done.value
            return task


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=21)
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--out", type=Path, default=Path("docs/results/training_speed.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for name in options.settings:
        results[name] = row = compare(SETTINGS[name], options.repetitions)
        print(f"{name}: textbook step {row['textbook_step_s'] * 1e3:.0f} ms")
        for mode in MODES:
            ours = row[f"compile {mode}"]
            low, high = ours["interval"]
            print(f"  compile {mode:3s} {ours['speedup']:.3f} × as quick ({low:.3f}–{high:.3f}), ", end="")
            print(f"first step {ours['first_step_s']:.1f} s, losses within {ours['loss_difference']:.0e}")
    machine = {"processor": platform.machine(), "torch": str(torch.__version__), "python": platform.python_version()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")
    print(f"training speed: raw results in {options.out}")


if __name__ == "__main__":
    main()
