"""LASER's claims 1 to 3 put to models trained here: three seeds, three stages of training, with controls.

    .venv/bin/python -m benchmarks.claims [--out docs/results/claims.json] [--cache .cache/bench/claims]

Two tasks are learnt to the end; the third, with attention, only so far as minutes allow: its accuracy is in the file. One
thread. Models and analyses that are in the cache already are not computed again, so a stopped run goes on where it was.
Thresholds are those of ``laser_core.analysis.verdicts``. Intervals are Student's, 95 %, over seeds.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from laser_core.checkpoint import save
from laser_core.config import TrainConfig, parse_run
from laser_core.events import Result, Snapshot
from laser_core.run import ANALYSIS, execute
from laser_core.tasks import PuzzleTask, prepare
from laser_core.train import Trainer, train

SEEDS = (0, 1, 2)
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # .975 quantile, by the number of values
STAGES = ("init", "mid", "late")
TASKS: dict[str, dict[str, Any]] = {
    "sudoku 4x4, mixer": {
        "task": {"kind": "sudoku", "size": 4},
        "model": {"block": "mlp", "width": 32, "layers": 1, "latent_steps": 3, "cycles": 2},
        "training": {"steps": 300, "batch_size": 32, "learning_rate": 5e-3, "ema": 0.97, "supervision_steps": 4},
    },
    "sudoku 6x6 (14 blanks), mixer": {
        "task": {"kind": "sudoku", "size": 6, "max_blanks": 14, "train_puzzles": 600, "test_puzzles": 200},
        "model": {"block": "mlp", "width": 48, "layers": 1, "latent_steps": 3, "cycles": 2},
        "training": {"steps": 300, "batch_size": 32, "learning_rate": 4e-3, "ema": 0.97, "supervision_steps": 4},
    },
    "sudoku 9x9 (12 blanks), attention": {
        "task": {"kind": "sudoku", "size": 9, "max_blanks": 12, "train_puzzles": 400, "test_puzzles": 100},
        "model": {"block": "attention", "width": 64, "layers": 2, "latent_steps": 6, "cycles": 3},
        "training": {"steps": 240, "batch_size": 16, "learning_rate": 1e-3, "ema": 0.97, "supervision_steps": 4},
    },
}
LOOK = {"max_puzzles": 32, "batch_size": 16, "supervision_steps": 4, "dimension_points": 800, "tracking_steps": 24}


def training_run(task: str, seed: int) -> TrainConfig:
    """What is trained; a third of the steps is the middle stage."""
    sections = json.loads(json.dumps(TASKS[task]))
    sections["training"] |= {"warmup_steps": 50, "checkpoint_every": sections["training"]["steps"] // 3}
    config = parse_run({"kind": "train", "seed": seed, "device": "cpu"} | sections)
    assert isinstance(config, TrainConfig)
    return config


def stage_steps(config: TrainConfig) -> dict[str, int]:
    """The training step of every stage."""
    return {"init": 0, "mid": config.training.checkpoint_every, "late": config.training.steps}


def trained(task: str, seed: int, folder: Path) -> dict[str, float]:
    """Trains into ``folder`` unless it is there; the final accuracies."""
    told = folder / "result.json"
    if not told.exists():
        config = training_run(task, seed)
        save(Trainer(config, _puzzles(config), torch.device("cpu")).snapshot(), folder / "checkpoints", keep=9)
        for event in train(config):
            if isinstance(event, Snapshot):
                save(event, folder / "checkpoints", keep=9)
            if isinstance(event, Result):
                told.write_text(json.dumps(event.values))
    values = json.loads(told.read_text())
    return {name: values[name] for name in ("exact_accuracy", "cell_accuracy")}


def _puzzles(config: TrainConfig) -> PuzzleTask:
    preparing = prepare(config.task, {})
    while True:
        try:
            next(preparing)
        except StopIteration as end:
            task: PuzzleTask = end.value
            return task


def analysed(folder: Path, step: int, is_last: bool) -> dict[str, Any]:
    """The analysis of one checkpoint; the last stage's has the controls and the comparison with the other stages."""
    out = folder / f"analysis-{step}"
    if not (out / ANALYSIS).exists():
        checkpoint = folder / "checkpoints" / f"step-{step:08d}"
        more = {"controls": is_last, "other_checkpoints": is_last, "device": "cpu"}
        config = parse_run({"kind": "analysis", "checkpoint": str(checkpoint)} | LOOK | more)
        for _ in execute(config, out):
            pass
    report: dict[str, Any] = json.loads((out / ANALYSIS).read_text())
    return report


def rows_of(report: dict[str, Any], place: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One row per verdict."""
    for verdict in report["verdicts"]:
        yield place | {name: verdict[name] for name in ("claim", "answer", "value", "threshold", "numbers")}


def profiles_of(report: dict[str, Any], place: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Per model, site and recursion step (0: all together) at the last supervision step: ranks and dimensions."""
    last = report["supervision_steps"][-1]
    told = ("width", "rows", "ranks", "centred_ranks", "participation_ratio", "stable_rank", "intrinsic_dimension")
    for spectrum in report["spectra"]:
        if spectrum["supervision_step"] == last:
            names = ("model", "site", "recursion_step", *told, "gaussian_dimension")
            yield place | {name: _rounded(spectrum[name]) for name in names}


def angles_of(report: dict[str, Any], place: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Per model and site: mean overlaps, chance, and the least energy share that one shared basis holds of a recursion step;
    and overlaps between training steps."""
    for model, sites in report["angles"].items():
        for site, angles in sites.items():
            turned = {name: _mean_beside(angles[name]["overlap"]) for name in ("recursion", "supervision")}
            chance = angles["recursion"]["rank"] / angles["recursion"]["width"]
            shared = min(angles["shared_energy"])
            row = {"model": model, "site": site, "chance": chance, "least_shared_energy": shared}
            yield place | {name: _rounded(value) for name, value in (row | turned).items()}
    for model, sites in report["drift"].items():
        for site, turned in sites.items():
            row = {"model": model, "site": site, "training": turned["overlap"][0][1]}
            row |= {"chance": turned["rank"] / turned["width"], "largest_angle": turned["largest_angle"][0][1]}
            yield place | {name: _rounded(value) for name, value in row.items()}


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per task, stage and claim: mean over seeds with its interval, and how many seeds say that it holds."""
    cases = dict.fromkeys((row["task"], row["stage"], row["claim"]) for row in rows)
    told = []
    for case in cases:
        mine = [row for row in rows if (row["task"], row["stage"], row["claim"]) == case]
        values = [row["value"] for row in mine if row["value"] is not None]
        told.append(
            {
                **dict(zip(("task", "stage", "claim"), case, strict=True)),
                "threshold": mine[0]["threshold"],
                "mean": statistics.fmean(values) if values else None,
                "interval": interval(values),
                "holds": sum(row["answer"] == "holds" for row in mine),
                "seeds": len(mine),
            }
        )
    return told


def interval(values: list[float]) -> list[float] | None:
    """Student's 95 % interval of the mean; None for fewer than two values."""
    if len(values) < 2:
        return None
    half = STUDENT[len(values)] * statistics.stdev(values) / math.sqrt(len(values))
    return [statistics.fmean(values) - half, statistics.fmean(values) + half]


def _mean_beside(matrix: list[list[float]]) -> float | None:
    """Mean of what lies off the diagonal; None for one row."""
    beside = [value for i, row in enumerate(matrix) for j, value in enumerate(row) if i != j]
    return statistics.fmean(beside) if beside else None


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def carry_out(cache: Path) -> Iterator[dict[str, Any]]:
    """The results so far, after every task."""
    lists: dict[str, list[dict[str, Any]]] = {name: [] for name in ("accuracy", "verdicts", "profiles", "angles")}
    for number, task in enumerate(TASKS):
        for seed in SEEDS:
            folder = cache / f"task{number}-seed{seed}"
            values = trained(task, seed, folder)
            lists["accuracy"].append({"task": task, "seed": seed, **values})
            print(f"{task}, seed {seed}: exact accuracy {values['exact_accuracy']:.3f}", flush=True)
            for stage, step in stage_steps(training_run(task, seed)).items():
                report = analysed(folder, step, stage == "late")
                place = {"task": task, "stage": stage, "seed": seed}
                lists["verdicts"] += rows_of(report, place)
                lists["profiles"] += profiles_of(report, place)
                lists["angles"] += angles_of(report, place)
        yield {"summary": summary(lists["verdicts"]), **lists}


def written(results: dict[str, Any]) -> str:
    """JSON with one row of each list per line."""
    parts = []
    for name, value in results.items():
        rows = ",\n  ".join(json.dumps(row) for row in value) if isinstance(value, list) else ""
        parts.append(f' "{name}": ' + (f"[\n  {rows}\n ]" if rows else json.dumps(value)))
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/results/claims.json"))
    parser.add_argument("--cache", type=Path, default=Path(".cache/bench/claims"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    machine = {"processor": platform.machine(), "torch": str(torch.__version__), "python": platform.python_version()}
    settings = {"machine": machine, "tasks": TASKS, "analysis": LOOK}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for results in carry_out(options.cache):
        options.out.write_text(written(settings | results))
    for line in results["summary"]:
        mean = "not measured" if line["mean"] is None else f"{line['mean']:.3f}"
        print(
            f"  {line['task']:34s} {line['stage']:5s} {line['claim']:3s} {mean}  holds {line['holds']}/{line['seeds']}"
        )
    print(f"claims: raw results in {options.out}")


if __name__ == "__main__":
    main()
