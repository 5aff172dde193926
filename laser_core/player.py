"""Follows one puzzle through a checkpoint's recursion (run kind ``inspect``): the same steps as evaluation takes, watched.

Shapes: S cells, L positions, D width, V vocabulary.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from laser_core.checkpoint import Checkpoint
from laser_core.config import ConfigError, InspectConfig, Problem, TrainConfig, parse_run
from laser_core.device import choose_device, device_name, environment, versions
from laser_core.evaluate import load_model
from laser_core.events import Event, FileSaved, Log, Progress, Result, Started
from laser_core.inspection import FORMAT, Inspection, Place, Reading
from laser_core.loss import stablemax_nll
from laser_core.model import TRM
from laser_core.projection import State, touched, tracked_basis
from laser_core.puzzle_file import is_maze
from laser_core.puzzle_text import plain, size_of, solve
from laser_core.tasks import Puzzles, PuzzleTask, prepare
from laser_core.tasks.base import PADDING
from laser_core.tasks.files import tokens
from laser_core.tasks.mazes import MazeRules
from laser_core.tasks.sudoku import SudokuRules
from laser_core.tracker import spectrum
from laser_core.unroll import unrolled

if TYPE_CHECKING:
    from jaxtyping import Float

Save = Callable[[dict[str, Any]], FileSaved]
LIMIT_S = 120.0  # an inspection goes before everything that waits, so it may not take long


def inspect(config: InspectConfig, checkpoint: Checkpoint, *, files: Mapping[str, Path], save: Save) -> Iterator[Event]:
    """Started, Progress, the saved Inspection, and a Result that sums it up.

    Raises ConfigError where the puzzle doesn't suit the checkpoint's model or the task has none of that number, and
    TimeoutError after ``LIMIT_S``.
    """
    deadline = time.monotonic() + LIMIT_S
    device = choose_device(config.device)
    trained = parse_run(checkpoint.state["config"])
    assert isinstance(trained, TrainConfig)
    asked = yield from _asked(config, trained, files, deadline)
    model = load_model(trained, asked.task, checkpoint, config.weights).to(device)
    yield Started(
        0,
        config.supervision_steps,
        device_name(device),
        sum(p.numel() for p in model.parameters()),
        versions(),
        environment(device),
    )
    watch = _watched(model, asked, config.supervision_steps, deadline)
    yield Progress(config.supervision_steps, config.supervision_steps, 0.0)
    found = _told(watch, model, checkpoint, asked)
    yield save({"format": FORMAT} | dataclasses.asdict(found))
    yield Result(_values(found), notes={"plane": found.plane, "weights": config.weights})


# --- the puzzle


@dataclasses.dataclass(frozen=True)
class _Asked:
    """The puzzle (``puzzles`` holds it alone), and what is known of it."""

    task: PuzzleTask
    puzzles: Puzzles
    solutions: int | None = None


def _asked(
    config: InspectConfig, trained: TrainConfig, files: Mapping[str, Path], deadline: float
) -> Generator[Log, None, _Asked]:
    if config.puzzle:
        return _typed(plain(config.puzzle))
    preparing = prepare(config.task or trained.task, files)
    while True:
        _check_time(deadline)
        try:
            yield next(preparing)
        except StopIteration as end:
            task: PuzzleTask = end.value
            break
    puzzles = task.train if config.split == "train" else task.test
    if config.index >= len(puzzles):
        known = f"the task has {len(puzzles)} {config.split} puzzles, counted from 0"
        raise ConfigError(Problem("index", f"{known}; got {config.index}"))
    return _Asked(task, puzzles[config.index : config.index + 1])


def _typed(cells: str) -> _Asked:
    rules = MazeRules(size_of(cells)) if is_maze(cells) else SudokuRules(size_of(cells))
    solutions, solution = (None, "") if is_maze(cells) else solve(cells)
    inputs_1S = torch.from_numpy(tokens([cells]))
    labels_1S = torch.from_numpy(tokens([solution])) if solution else torch.full_like(inputs_1S, PADDING)
    puzzles = Puzzles(inputs_1S, labels_1S)
    return _Asked(PuzzleTask(rules, puzzles[:0], puzzles, augmented=False), puzzles, solutions)


# --- watching


class _Watch:
    """Sees every call's state: reads the answer out, and keeps the mean over positions, lengths and drifts."""

    def __init__(self, model: TRM, asked: _Asked) -> None:
        self.model, self.asked = model, asked
        self.readings: list[Reading] = []
        self.means: list[Tensor] = []  # (D,), float64
        self.places: list[Place] = []  # x and y still 0
        self._before: dict[State, Tensor] = {"latent": model.latent_init, "answer": model.answer_init}

    def __call__(self, state: State, x_BLD: Tensor) -> Tensor:
        config = self.model.config
        call, period = len(self.places), config.latent_steps + 1
        supervision_step, cycle = call // (period * config.cycles) + 1, call // period % config.cycles + 1
        x_LD = x_BLD[0].double()
        length, change = float(x_LD.norm()), float((x_LD - self._before[state]).norm())
        self._before[state] = x_LD
        self.means.append(x_LD.mean(0))
        norm, drift = length / len(x_LD) ** 0.5, change / length if length else 0.0
        self.places.append(Place(supervision_step, cycle, call % period + 1, state, 0.0, 0.0, norm, drift))
        if state == "answer":
            self.readings.append(self._read(supervision_step, cycle, x_BLD))
        return x_BLD

    def _read(self, supervision_step: int, cycle: int, answer_BLD: Tensor) -> Reading:
        model, rules = self.model, self.asked.task.rules
        logits_SV = model.lm_head(answer_BLD)[0, model.puzzle_positions :].cpu()
        said_S = logits_SV.argmax(-1)
        question_S, label_S = (x[0].long() for x in (self.asked.puzzles.inputs_NS, self.asked.puzzles.labels_NS))
        cells, earlier = rules.text(said_S), self.readings[-1].cells if self.readings else None
        changed = () if earlier is None else tuple(i for i, old in enumerate(earlier) if old != cells[i])
        if rules.has_verifier:
            solved = bool(rules.valid(question_S[None], said_S[None]))
        else:
            solved = bool(((said_S == label_S) | (label_S == PADDING)).all())
        return Reading(
            supervision_step, cycle, cells, tuple(_rounded((-stablemax_nll(logits_SV, said_S)).exp().tolist())), changed,
            tuple(rules.violations(question_S, said_S)), solved, float(model.halt_head(answer_BLD[:, 0]).float()[0, 0]),
        )  # fmt: skip


@torch.inference_mode()
def _watched(model: TRM, asked: _Asked, supervision_steps: int, deadline: float) -> _Watch:
    watch = _Watch(model, asked)
    batch = asked.puzzles.batch(slice(1), model.answer_init.device)
    with touched(model, watch, "call") as after:
        for _ in unrolled(model, batch, supervision_steps, after=after):
            _check_time(deadline)
    return watch


def _check_time(deadline: float) -> None:
    if time.monotonic() > deadline:
        message = (
            f"took longer than {LIMIT_S:.0f} s, which an inspection may not; type the puzzle, or ask for fewer steps"
        )
        raise TimeoutError(message)


# --- what is told


def _told(watch: _Watch, model: TRM, checkpoint: Checkpoint, asked: _Asked) -> Inspection:
    tracked_DK = tracked_basis(model, checkpoint)
    if tracked_DK is not None and tracked_DK.shape[1] < 2:
        tracked_DK = None
    means_ND = torch.stack(watch.means).cpu()
    latents_ND = means_ND[[place.state == "latent" for place in watch.places]]
    plane_D2 = _plane(latents_ND, tracked_DK)
    points_N2 = (means_ND @ plane_D2).tolist()
    path = [dataclasses.replace(place, x=x, y=y) for place, (x, y) in zip(watch.places, points_N2, strict=True)]
    rules, puzzles = asked.task.rules, asked.puzzles
    is_solution_known = bool((puzzles.labels_NS != PADDING).any())
    return Inspection(
        checkpoint.step, rules.kind, rules.size, rules.text(puzzles.inputs_NS[0]),  # type: ignore[arg-type]
        rules.text(puzzles.labels_NS[0]) if is_solution_known else "", asked.solutions,
        "measured" if tracked_DK is None else "tracked", _share(latents_ND, plane_D2),
        model.config.cycles, model.config.latent_steps,
        tuple(watch.readings), tuple(path),
    )  # fmt: skip


def _plane(latents_ND: Float[Tensor, "N D"], tracked_DK: Float[Tensor, "D K"] | None) -> Float[Tensor, "D 2"]:
    """The two directions, within the tracked subspace where there is one, in which the latents differ most. The greatest
    component of each is positive: an eigenvector's sign is nobody's choice."""
    centred_ND = latents_ND - latents_ND.mean(0)
    basis_DK = torch.eye(latents_ND.shape[1]).double() if tracked_DK is None else tracked_DK.double()
    coordinates_NK = centred_ND @ basis_DK
    plane_D2 = basis_DK @ spectrum(coordinates_NK.T @ coordinates_NK)[0][:, :2]
    return plane_D2 * plane_D2.gather(0, plane_D2.abs().argmax(0, keepdim=True)).sign()


def _share(latents_ND: Float[Tensor, "N D"], plane_D2: Float[Tensor, "D 2"]) -> float:
    moves_ND = latents_ND.diff(dim=0)
    total = float(moves_ND.square().sum())
    return float((moves_ND @ plane_D2).square().sum()) / total if total else 1.0


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 4) for value in values]


def _values(found: Inspection) -> dict[str, float]:
    last = found.readings[-1]
    ends = [reading for reading in found.readings if reading.cycle == found.cycles]
    values = {"solved": float(last.solved), "violations": float(len(last.violations))}
    for name, steps in (
        ("solved_at", [reading.supervision_step for reading in ends if reading.solved]),
        ("halts_at", [reading.supervision_step for reading in ends if reading.halt_logit > 0]),
    ):
        if steps:
            values[name] = float(steps[0])
    return values
