"""Any run carried out: checkpoints on disk, resumption from the one named, evaluation of an earlier run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from laser_core.checkpoint import load
from laser_core.config import ConfigError, EvalConfig, TrainConfig, parse_run
from laser_core.events import CheckpointSaved, Log, Result, Snapshot, Started, from_json, to_json
from laser_core.run import CHECKPOINTS, execute, find_checkpoint, inputs, newest

Make = Callable[..., TrainConfig]


def evaluation(checkpoint: Path, **changes: Any) -> EvalConfig:
    config = parse_run({"kind": "eval", "checkpoint": str(checkpoint), "device": "cpu"} | changes)
    assert isinstance(config, EvalConfig)
    return config


def final_weights(directory: Path) -> dict[str, torch.Tensor]:
    return load(directory / CHECKPOINTS / "step-00000012").model


def test_a_run_leaves_checkpoints_and_events_that_go_through_json(tmp_path: Path, tiny: Make) -> None:
    events = list(execute(tiny(), tmp_path))
    saved = [event for event in events if isinstance(event, CheckpointSaved)]
    assert [event.name for event in saved] == ["step-00000005", "step-00000010", "step-00000012"]
    assert not any(isinstance(event, Snapshot) for event in events)
    assert [from_json(to_json(event)) for event in events] == events
    result = events[-1]
    assert isinstance(result, Result)
    assert result.weights_sha256 == saved[-1].files["model.safetensors"]
    assert newest(tmp_path) == "step-00000012"


def test_a_cancelled_run_goes_on_from_the_checkpoint_named(tmp_path: Path, tiny: Make) -> None:
    whole = list(execute(tiny(), tmp_path / "whole"))[-1]
    for event in execute(tiny(), tmp_path / "cut"):
        if isinstance(event, CheckpointSaved):
            break
    resumed = list(execute(tiny(), tmp_path / "cut", resume="step-00000005"))
    assert isinstance(resumed[0], Started)
    assert resumed[0].step == 5
    assert isinstance(whole, Result)
    assert isinstance(resumed[-1], Result)
    assert resumed[-1].weights_sha256 == whole.weights_sha256


def test_a_damaged_checkpoint_is_said_and_an_older_one_taken(tmp_path: Path, tiny: Make) -> None:
    whole = list(execute(tiny(), tmp_path))[-1]
    (tmp_path / CHECKPOINTS / "step-00000012" / "model.safetensors").write_bytes(b"")
    events = list(execute(tiny(), tmp_path, resume="step-00000012"))
    assert events[0] == Log("checkpoint step-00000012 is damaged or gone; going on from step 10", "warning")
    assert isinstance(whole, Result)
    assert isinstance(events[-1], Result)
    assert events[-1].weights_sha256 == whole.weights_sha256


def test_no_later_checkpoint_is_taken_than_the_one_named(tmp_path: Path, tiny: Make) -> None:
    """A later one would leave a gap in the events: the one named is the last whose events were taken in."""
    for _ in execute(tiny(), tmp_path):
        pass
    events = list(execute(tiny(), tmp_path, resume="step-00000005"))
    assert events[0] == Log("checkpoint step-00000005 is damaged or gone; starting anew", "warning")
    assert isinstance(events[1], Started)
    assert events[1].step == 0


def test_a_full_disk_is_said(tmp_path: Path, tiny: Make) -> None:
    (tmp_path / CHECKPOINTS).write_text("in the way")
    with pytest.raises(OSError, match="exists"):
        list(execute(tiny(), tmp_path))


def test_threads_are_set(tmp_path: Path, tiny: Make) -> None:
    events = execute(replace(tiny(), device="cpu"), tmp_path, threads=2)
    started = next(event for event in events if isinstance(event, Started))
    assert started.device == "cpu (2 threads)"
    assert torch.get_num_threads() == 2


def test_an_evaluation_finds_a_runs_newest_checkpoint_or_the_one_named(tmp_path: Path, tiny: Make) -> None:
    trained = list(execute(tiny(), tmp_path))[-1]
    by_run, by_folder = (
        list(execute(evaluation(path, supervision_steps=3), tmp_path / "eval"))[-1]
        for path in (tmp_path, tmp_path / CHECKPOINTS / "step-00000012")
    )
    assert isinstance(trained, Result)
    assert isinstance(by_run, Result)
    assert by_run == by_folder
    assert by_run.values["exact_accuracy"] == trained.values["exact_accuracy"]
    given = list(
        execute(evaluation(Path("r_x")), tmp_path / "eval", checkpoint=tmp_path / CHECKPOINTS / "step-00000010")
    )
    assert isinstance(given[-1], Result)
    assert given[-1].values["steps"] == 10
    assert not (tmp_path / "eval").exists()


def test_an_evaluation_without_a_checkpoint_is_refused(tmp_path: Path, tiny: Make) -> None:
    with pytest.raises(ConfigError, match=r"checkpoint: .* holds no whole checkpoint"):
        list(execute(evaluation(tmp_path), tmp_path))
    list(execute(tiny(), tmp_path))
    folder = tmp_path / CHECKPOINTS / "step-00000012"
    (folder / "state.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"checkpoint: .*damaged"):
        find_checkpoint(folder)


def test_the_inputs_of_a_run_are_its_own_or_its_checkpoints(tmp_path: Path, tiny: Make) -> None:
    rows = "x,1.3.3.1.2143.321,1234341221434321,1\ny,1.3.3.1.214.4321,1234341221434321,1\n"
    path = tmp_path / "puzzles.csv"
    path.write_text("source,q,a,rating\n" + rows)
    task = {"kind": "csv", "train": str(path), "test": ""}
    base = tiny()
    config = replace(base, task=parse_run({"kind": "train", "task": task}).task)  # type: ignore[arg-type]
    assert inputs(config) == (str(path),)
    list(execute(config, tmp_path / "run", files={str(path): path}))
    assert inputs(evaluation(tmp_path / "run")) == (str(path),)
    assert inputs(evaluation(tmp_path / "run", task={"kind": "sudoku"})) == ()
