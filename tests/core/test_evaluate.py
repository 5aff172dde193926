"""Evaluation counts what is right, on any split of any task that suits the checkpoint."""

from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
import torch

from laser_core.checkpoint import Checkpoint, load, save
from laser_core.config import ConfigError, EvalConfig, ModelConfig, TrainConfig, parse_run
from laser_core.evaluate import Scores, evaluate, score
from laser_core.events import Event, Metrics, Progress, Result, Snapshot, Started
from laser_core.model import TRM
from laser_core.rollouts import Verifier
from laser_core.stores import ActivationStore
from laser_core.tasks import Puzzles, PuzzleTask
from laser_core.tasks.mazes import MazeRules
from laser_core.train import train

Make = Callable[..., TrainConfig]


def scored(model: TRM, puzzles: Puzzles, batch_size: int, steps: int, valid: Verifier | None = None) -> Scores:
    scoring = score(model, puzzles, batch_size, steps, valid)
    while True:
        try:
            next(scoring)
        except StopIteration as done:
            return done.value


class Parrot(TRM):
    """Answers with its inputs: right wherever the puzzle isn't blank."""

    def supervision_step(self, carry: Any, batch: Any) -> Any:
        carry, outputs = super().supervision_step(carry, batch)
        outputs.logits_BSV.copy_(torch.nn.functional.one_hot(carry.data.inputs_BS, self.vocab_size) * 100.0)
        return carry, outputs


def test_scores_are_shares_of_cells_and_of_whole_puzzles() -> None:
    labels = torch.full((5, 16), 2, dtype=torch.uint8)
    inputs = labels.clone()
    inputs[0, :4] = 1  # four cells wrong in one of five puzzles
    config = ModelConfig(width=8, heads=2, layers=1, latent_steps=1, cycles=1)
    model = Parrot(config, 6, 16, store=ActivationStore(), generator=torch.Generator())
    for batch_size in (1, 2, 5, 100):
        scores = scored(model, Puzzles(inputs, labels), batch_size, 3)
        assert scores.exact_accuracy == pytest.approx(4 / 5)
        assert scores.cell_accuracy == pytest.approx(76 / 80)
        assert (scores.puzzles, scores.supervision_steps) == (5, 3)


class Timed(Parrot):
    """Wishes to halt on puzzle i (its first label) after supervision step i, answers right from step 2 on."""

    def supervision_step(self, carry: Any, batch: Any) -> Any:
        carry, outputs = super().supervision_step(carry, batch)
        if carry.steps_B[0] > 1:
            outputs.logits_BSV.copy_(torch.nn.functional.one_hot(carry.data.labels_BS, self.vocab_size) * 100.0)
        outputs.halt_logit_B.copy_((carry.data.labels_BS[:, 0] == carry.steps_B).float() - 0.5)
        return carry, outputs


@pytest.mark.parametrize("batch_size", [2, 100])
def test_halting_and_accuracy_are_counted_after_every_step(batch_size: int) -> None:
    labels = torch.tensor([1, 2, 2, 3, 5], dtype=torch.uint8)[:, None].repeat(1, 16)
    inputs = torch.zeros_like(labels)
    inputs[:, :4] = labels[:, :4]
    config = ModelConfig(width=8, heads=2, layers=1, latent_steps=1, cycles=1)
    model = Timed(config, 6, 16, store=ActivationStore(), generator=torch.Generator())
    scores = scored(model, Puzzles(inputs, labels), batch_size, 4)
    assert [round(step.wished * 5) for step in scores.steps] == [1, 3, 4, 4]  # the last one never wished to
    assert [step.halting_accuracy for step in scores.steps] == [0.0, 1.0, 1.0, None]
    assert [step.exact_accuracy for step in scores.steps] == [0.0, 1.0, 1.0, 1.0]
    assert [step.cell_accuracy for step in scores.steps] == [0.25, 1.0, 1.0, 1.0]
    assert scores.supervision_steps == pytest.approx((1 + 2 + 2 + 3 + 4) / 5)
    assert scores.halting() == {
        "halting.wished": 0.8,
        "halting.mean_step": scores.supervision_steps,
        "halting.median_step": 2.0,
    }
    curves = list(scores.curves())
    assert [point.step for point in curves] == [1, 2, 3, 4]
    assert curves[1].values == {
        "steps.exact_accuracy": 1.0,
        "steps.cell_accuracy": 1.0,
        "halting.wished": 0.6,
        "halting.exact_accuracy": 1.0,
    }
    assert "halting.exact_accuracy" not in curves[3].values


@pytest.fixture
def trained(tiny: Make, tmp_path: Path) -> tuple[Checkpoint, list[Event]]:
    """The final checkpoint of a tiny run and its events."""
    events, name = [], ""
    for event in train(tiny()):
        events.append(event)
        if isinstance(event, Snapshot):
            name = save(event, tmp_path).name
    return load(tmp_path / name), events


def evaluation(**changes: Any) -> EvalConfig:
    config = parse_run({"kind": "eval", "checkpoint": "here", "supervision_steps": 3, "device": "cpu"} | changes)
    assert isinstance(config, EvalConfig)
    return config


def test_a_checkpoint_scores_as_its_run_did(trained: tuple[Checkpoint, list[Event]]) -> None:
    checkpoint, events = trained
    told = list(evaluate(evaluation(batch_size=5), checkpoint, files={}))
    assert [type(event) for event in told] == [Started, *[Progress] * 3, *[Metrics] * 4, Result]
    assert [event.step for event in told if isinstance(event, Progress)] == [5, 10, 12]
    metrics, result = told[-2:]
    assert isinstance(metrics, Metrics)
    assert metrics.step == 12
    end = events[-1]
    assert isinstance(end, Result)
    assert isinstance(result, Result)
    for name in ("exact_accuracy", "cell_accuracy", "loss", "puzzles", "steps"):
        assert result.values[name] == pytest.approx(end.values[name])
    assert result.weights_sha256 == ""
    assert result.notes == {"split": "test", "weights": "ema"}


@pytest.mark.parametrize(
    ("changes", "puzzles"),
    [
        ({"split": "train"}, 20),
        ({"max_puzzles": 7}, 7),
        ({"weights": "raw"}, 12),
        ({"task": {"kind": "sudoku", "test_puzzles": 9, "train_puzzles": 5}}, 9),
    ],
    ids=str,
)
def test_every_evaluation_option_runs(
    trained: tuple[Checkpoint, list[Event]], changes: dict[str, Any], puzzles: int
) -> None:
    result = list(evaluate(evaluation(**changes), trained[0], files={}))[-1]
    assert isinstance(result, Result)
    assert result.values["puzzles"] == puzzles


def test_raw_and_averaged_weights_differ(trained: tuple[Checkpoint, list[Event]]) -> None:
    losses = {
        weights: list(evaluate(evaluation(weights=weights), trained[0], files={}))[-1].values["loss"]  # type: ignore[union-attr]
        for weights in ("ema", "raw")
    }
    assert losses["ema"] != losses["raw"]


def test_puzzles_of_another_size_are_refused(trained: tuple[Checkpoint, list[Event]]) -> None:
    config = evaluation(task={"kind": "sudoku", "size": 6, "train_puzzles": 2, "test_puzzles": 2})
    with pytest.raises(ConfigError, match=r"task: has 6×6 puzzles .* choose puzzles of the size"):
        list(evaluate(config, trained[0], files={}))


def test_a_split_without_puzzles_is_refused(trained: tuple[Checkpoint, list[Event]], tmp_path: Path) -> None:
    path = tmp_path / "puzzles.csv"
    path.write_text("source,q,a,rating\nx,1.3.3.1.2143.321,1234341221434321,1\n")
    config = evaluation(task={"kind": "csv", "test": "file"}, split="train")
    with pytest.raises(ConfigError, match="split: the task has no train puzzles"):
        list(evaluate(config, trained[0], files={"file": path}))
    result = list(evaluate(evaluation(task={"kind": "csv", "test": "file"}), trained[0], files={"file": path}))[-1]
    assert isinstance(result, Result)
    assert result.values["puzzles"] == 1


def test_a_verifier_is_refused_where_the_task_has_none(
    trained: tuple[Checkpoint, list[Event]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PuzzleTask, "has_verifier", False, raising=False)
    with pytest.raises(ConfigError, match=r"choose: the task has no rules .* expected halt or mode"):
        list(evaluate(evaluation(choose="verifier"), trained[0], files={}))


@pytest.mark.parametrize("choose", ["halt", "mode", "verifier"])
def test_the_result_of_rollouts_is_that_of_the_chosen_ones(
    trained: tuple[Checkpoint, list[Event]], monkeypatch: pytest.MonkeyPatch, choose: str
) -> None:
    right = chain([False], [False, False, True], repeat(False))  # the plain pass, then rollouts: the third passes

    def valid(self: PuzzleTask, inputs_BS: torch.Tensor, predictions_BS: torch.Tensor) -> torch.Tensor:
        return torch.full((len(inputs_BS),), next(right))

    monkeypatch.setattr(PuzzleTask, "has_verifier", True, raising=False)
    monkeypatch.setattr(PuzzleTask, "valid", valid, raising=False)
    events = list(evaluate(evaluation(rollouts=3, choose=choose, noise=2.0), trained[0], files={}))
    progress = [event.step for event in events if isinstance(event, Progress)]
    assert progress == [12, 24]
    curve = [e for e in events if isinstance(e, Metrics) and "rollouts.exact_accuracy.halt" in e.values]
    assert [point.step for point in curve] == [1, 2, 3]
    result, test = events[-1], events[-2]
    assert isinstance(result, Result)
    assert isinstance(test, Metrics)
    assert result.notes["choose"] == choose
    assert result.values["exact_accuracy"] == curve[-1].values[f"rollouts.exact_accuracy.{choose}"]
    assert test.values["test.cell_accuracy"] == result.values["cell_accuracy"]
    plain = list(evaluate(evaluation(), trained[0], files={}))[-1]
    assert isinstance(plain, Result)
    assert result.values["plain.exact_accuracy"] == plain.values["exact_accuracy"]
    assert result.values["loss"] == plain.values["loss"]


def test_answers_that_the_rules_accept_count_beside_those_that_equal_the_label() -> None:
    """Two mazes with two shortest paths each: the answer to the first takes the other one, to the second a wall's cell."""
    question = torch.tensor([3, 2, 2, 2, 1, 2, 2, 2, 4], dtype=torch.uint8)  # S around a wall to G
    labels = torch.tensor([[3, 5, 5, 2, 1, 5, 2, 2, 4]] * 2, dtype=torch.uint8)
    answers = torch.tensor([[3, 2, 2, 5, 1, 2, 5, 5, 4], [3, 5, 5, 2, 5, 5, 2, 2, 4]])
    rules = MazeRules(3)

    class Answering(TRM):
        def supervision_step(self, carry: Any, batch: Any) -> Any:
            carry, outputs = super().supervision_step(carry, batch)
            outputs.logits_BSV.copy_(torch.nn.functional.one_hot(answers, self.vocab_size) * 100.0)
            return carry, outputs

    config = ModelConfig(width=8, heads=2, layers=1, latent_steps=1, cycles=1)
    model = Answering(config, rules.vocab_size, 9, store=ActivationStore(), generator=torch.Generator())
    puzzles = Puzzles(question.repeat(2, 1), labels)
    judged = scored(model, puzzles, 2, 1, rules.valid)
    assert (judged.exact_accuracy, judged.valid_accuracy) == (0, 0.5)
    assert judged.metrics(7).values["test.valid_accuracy"] == 0.5
    unjudged = scored(model, puzzles, 2, 1)
    assert unjudged.valid_accuracy is None
    assert "test.valid_accuracy" not in unjudged.metrics(7).values
