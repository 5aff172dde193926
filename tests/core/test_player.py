"""An inspection sees what evaluation does: the same answers, the same halting values, and where the states went."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from laser_core import player
from laser_core.checkpoint import Checkpoint, load
from laser_core.config import ConfigError, InspectConfig, TrainConfig, parse_run
from laser_core.evaluate import load_model
from laser_core.events import Event, Result
from laser_core.inspection import FILE, Inspection, from_json
from laser_core.run import CHECKPOINTS, execute, newest
from laser_core.tasks import PuzzleTask, prepare
from laser_core.unroll import unrolled

Make = Callable[..., TrainConfig]
STEPS = 3


@pytest.fixture
def trained(tiny: Make, tmp_path: Path) -> Callable[..., Path]:
    """Trains a tiny run and gives its directory."""

    def train(**sections: Any) -> Path:
        for _ in execute(tiny(**sections), tmp_path / "run"):
            pass
        return tmp_path / "run"

    return train


def inspected(run: Path, **settings: Any) -> tuple[Inspection, Result]:
    config = parse_run(
        {"kind": "inspect", "checkpoint": str(run), "supervision_steps": STEPS, "device": "cpu"} | settings
    )
    events: list[Event] = list(execute(config, run / "inspected"))
    result = events[-1]
    assert isinstance(result, Result)
    return from_json(json.loads((run / "inspected" / FILE).read_text())), result


def checkpoint_of(run: Path) -> Checkpoint:
    return load(run / CHECKPOINTS / str(newest(run)))


def task_of(checkpoint: Checkpoint) -> PuzzleTask:
    preparing = prepare(parse_run(checkpoint.state["config"]).task, {})  # type: ignore[arg-type]
    while True:
        try:
            next(preparing)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("task", [{"kind": "sudoku"}, {"kind": "maze", "size": 5}])
@pytest.mark.parametrize("block", ["attention", "mlp"])
def test_readings_are_what_evaluation_sees(trained: Callable[..., Path], task: dict[str, Any], block: str) -> None:
    run = trained(task=task, model={"block": block}, store={"kind": "laser-fused"})
    found, result = inspected(run, index=4)
    checkpoint = checkpoint_of(run)
    task_, config = task_of(checkpoint), parse_run(checkpoint.state["config"])
    assert isinstance(config, TrainConfig)
    model = load_model(config, task_, checkpoint, "ema")
    ends = [reading for reading in found.readings if reading.cycle == found.cycles]
    with torch.inference_mode():
        outputs = [out for _, out in unrolled(model, task_.test[4:5].batch(slice(1), torch.device("cpu")), STEPS)]
    assert [r.cells for r in ends] == [task_.rules.text(out.logits_BSV[0].argmax(-1)) for out in outputs]
    assert [r.halt_logit for r in ends] == [float(out.halt_logit_B[0]) for out in outputs]
    assert found.question == task_.rules.text(task_.test.inputs_NS[4])
    assert found.solution == task_.rules.text(task_.test.labels_NS[4])
    assert result.values["violations"] == len(ends[-1].violations)


def test_the_path_has_every_call_and_the_readings_every_cycle(trained: Callable[..., Path]) -> None:
    found, _ = inspected(trained())
    calls = [(p.supervision_step, p.cycle, p.recursion_step, p.state) for p in found.path]
    assert calls == [
        (step, cycle, call, "answer" if call == 3 else "latent")
        for step in (1, 2, 3)
        for cycle in (1, 2)
        for call in (1, 2, 3)
    ]
    assert [(r.supervision_step, r.cycle) for r in found.readings] == [(s, c) for s in (1, 2, 3) for c in (1, 2)]
    assert all(0 < c <= 1 for reading in found.readings for c in reading.confidences)
    for before, after in zip(found.readings, found.readings[1:], strict=False):
        assert after.changed == tuple(i for i in range(16) if before.cells[i] != after.cells[i])


def test_asked_again_it_says_the_same(trained: Callable[..., Path]) -> None:
    run = trained(store={"kind": "laser-fused", "rank": 4, "adapt": False})
    assert inspected(run, puzzle="1...0...2.......") == inspected(run, puzzle="1... .... 2... ....\n")


@pytest.mark.parametrize(
    ("store", "plane"),
    [({"kind": "none"}, "measured"), ({"kind": "laser-fused", "rank": 4, "adapt": False}, "tracked")],
)
def test_the_plane_is_the_tracked_one_where_there_is_one(
    trained: Callable[..., Path], store: dict[str, Any], plane: str
) -> None:
    found, result = inspected(trained(store=store))
    assert (found.plane, result.notes["plane"]) == (plane, plane)
    assert 0 < found.plane_share <= 1


UNIQUE = ("1.34341221434321", "1234341221434321")


@pytest.mark.parametrize(
    ("puzzle", "solutions", "solution"),
    [(UNIQUE[0], 1, UNIQUE[1]), (UNIQUE[1], 1, UNIQUE[1]), ("." * 16, 2, ""), ("123....4........", 0, "")],
)
def test_typed_puzzles_are_counted(trained: Callable[..., Path], puzzle: str, solutions: int, solution: str) -> None:
    found, _ = inspected(trained(), puzzle=puzzle)
    assert (found.question, found.solutions, found.solution) == (puzzle, solutions, solution)


WRONG = {
    "length": ("12.4" * 5, "expected 81, 36 or 16 characters (9×9, 6×6, 4×4), with . or 0 for a blank; got 20"),
    "digit": ("1.5.............", "character 3 is '5'; expected 1–4, with . or 0 for a blank"),
    "row": (".......5......5.5...." + "." * 60, "invalid puzzle: two 5s in row 2"),
    "column": ("5" + "." * 26 + "5" + "." * 53, "invalid puzzle: two 5s in column 1"),
    "box": ("3....3" + "." * 10, "invalid puzzle: two 3s in box 1"),
    "maze without a goal": ("S ##", "expected one G, got 0"),
    "maze of odd length": ("S # G", "expected n² characters of a maze, n from 2 to 40, got 5"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_puzzle_is_said(case: str) -> None:
    puzzle, message = WRONG[case]
    with pytest.raises(ConfigError) as refused:
        InspectConfig(checkpoint="r", puzzle=puzzle)
    assert [(p.field, p.message) for p in refused.value.problems] == [("puzzle", message)]


def test_a_puzzle_of_another_size_or_number_is_refused(trained: Callable[..., Path]) -> None:
    run = trained()
    with pytest.raises(ConfigError, match="choose puzzles of the size it was trained on"):
        inspected(run, puzzle="." * 36)
    with pytest.raises(ConfigError, match="the task has 12 test puzzles, counted from 0; got 12"):
        inspected(run, index=12)


def test_it_may_not_take_long(trained: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained()
    monkeypatch.setattr(player, "LIMIT_S", -1.0)
    with pytest.raises(TimeoutError, match="which an inspection may not"):
        inspected(run)


def test_violations_are_the_cells_that_break_a_rule(trained: Callable[..., Path]) -> None:
    rules = task_of(checkpoint_of(trained())).rules
    numbers = lambda text: torch.tensor([rules.characters.index(cell) for cell in text])  # noqa: E731
    clue, solution = numbers(UNIQUE[0]), numbers(UNIQUE[1])
    assert rules.violations(clue, solution) == []
    # row 1 and box 1 hold two 1s, and column 2 too
    assert rules.violations(clue, numbers("1134341221434321")) == [0, 1, 9]
    assert rules.violations(numbers("2..............."), solution) == [0]  # the clue was changed
    assert rules.violations(clue, numbers("1.34341221434321")) == [1]  # nothing was put in
