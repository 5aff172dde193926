"""Evaluation counts what is right, on any split of any task that suits the checkpoint."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from laser_core.checkpoint import Checkpoint, load, save
from laser_core.config import ConfigError, EvalConfig, ModelConfig, TrainConfig, parse_run
from laser_core.evaluate import Scores, evaluate, score
from laser_core.events import Event, Metrics, Progress, Result, Snapshot, Started
from laser_core.model import TRM
from laser_core.stores import ActivationStore
from laser_core.tasks import Puzzles
from laser_core.train import train

Make = Callable[..., TrainConfig]


def scored(model: TRM, puzzles: Puzzles, batch_size: int, steps: int) -> Scores:
    scoring = score(model, puzzles, batch_size, steps)
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
    assert [type(event) for event in told] == [Started, Progress, Progress, Progress, Metrics, Result]
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
