"""Official checkpoints come in, are evaluated, and go out again equal to the bit; pickles stay closed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from laser_core import parity
from laser_core.__main__ import main
from laser_core.checkpoint import load, save
from laser_core.config import ModelConfig, NoneStore, SudokuTask, TrainConfig
from laser_core.events import Snapshot
from laser_core.model import TRM
from laser_core.stores import make_store
from laser_core.train import train

REFERENCE = Path(__file__).parent / "reference"


def official(folder: Path, name: str, prefix: str = "") -> list[str]:
    """The reference's weights as the official code saves them; the words that import them."""
    tensors = load_file(REFERENCE / f"trm_{name}.safetensors")
    state = {prefix + key.removeprefix("state."): x for key, x in tensors.items() if key.startswith("state.")}
    save_file(state, folder / "official.safetensors")
    config = ["--config", str(REFERENCE / f"trm_{name}.json")]
    return ["import-official", str(folder / "official.safetensors"), *config, "--out", str(folder / "run")]


@pytest.mark.parametrize("name", ["attention", "mlp"])
def test_there_and_back_is_equal_to_the_bit(tmp_path: Path, name: str) -> None:
    assert main(official(tmp_path, name)) == 0
    assert main(["export-official", str(tmp_path / "run"), "--out", str(tmp_path / "back.safetensors")]) == 0
    there, back = load_file(tmp_path / "official.safetensors"), load_file(tmp_path / "back.safetensors")
    assert there.keys() == back.keys()
    for key, tensor in there.items():
        assert tensor.dtype == back[key].dtype
        assert torch.equal(tensor, back[key]), key
    before = json.loads((REFERENCE / f"trm_{name}.json").read_text())["config"]
    after = json.loads((tmp_path / "back.json").read_text())["config"]
    assert parity.model_config(after) == parity.model_config(before)
    assert all(after[key] == before[key] for key in ("vocab_size", "seq_len", "num_puzzle_identifiers"))


def test_an_imported_checkpoint_is_evaluated(tmp_path: Path) -> None:
    assert main(official(tmp_path, "attention", prefix="_orig_mod.model.")) == 0
    run = {"kind": "eval", "checkpoint": str(tmp_path / "run"), "supervision_steps": 2, "max_puzzles": 20}
    (tmp_path / "eval.json").write_text(json.dumps(run))
    assert main([str(tmp_path / "eval.json"), "--directory", str(tmp_path / "out")]) == 0
    assert json.loads((tmp_path / "out" / "result.json").read_text())["values"]["puzzles"] == 20


@pytest.mark.parametrize("block", ["attention", "mlp"])
def test_a_run_of_ours_goes_out_and_comes_back(tmp_path: Path, tiny: Callable[..., TrainConfig], block: str) -> None:
    config = tiny(model={"block": block, "positions": "learned"})
    snapshot = [event for event in train(config) if isinstance(event, Snapshot)][-1]
    save(snapshot, tmp_path / "ours" / "checkpoints")
    assert main(["export-official", str(tmp_path / "ours"), "--out", str(tmp_path / "x.safetensors")]) == 0
    words = [str(tmp_path / "x.safetensors"), "--config", str(tmp_path / "x.json"), "--out", str(tmp_path / "again")]
    assert main(["import-official", *words]) == 0
    found = load(tmp_path / "again" / "checkpoints" / "step-00000000")
    assert found.state["config"]["model"] == snapshot.state["config"]["model"]
    for name, tensor in found.model.items():
        ours = snapshot.model.get(name.replace("raw.", "ema."), snapshot.model[name])
        assert torch.equal(tensor, ours), name


@pytest.mark.parametrize("block", ["attention", "mlp"])
def test_every_weight_has_a_name_that_leads_back(block: Any) -> None:
    config = ModelConfig(block=block, width=16, heads=2, layers=3, positions="learned", puzzle_embedding=8)
    names = list(TRM(config, 6, 16, 2, store=make_store(NoneStore())).state_dict())
    official_names = [parity.official_name(name, config) for name in names]
    assert [parity.our_name(name) for name in official_names] == names
    assert len(set(official_names)) == len(names)
    assert parity.model_config(parity.official_config(config)) == config


def test_what_cannot_be_imported_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = official(tmp_path, "attention")

    def refused(*change: str) -> str:
        assert main([*words, *change]) == 2
        assert not (tmp_path / "run").exists()
        return capsys.readouterr().err

    config = json.loads((REFERENCE / "trm_attention.json").read_text())["config"]
    (tmp_path / "wide.json").write_text(json.dumps(config | {"hidden_size": 128}))
    assert "official.safetensors, wide.json: state: " in refused("--config", str(tmp_path / "wide.json"))
    (tmp_path / "no.json").write_text(json.dumps({k: v for k, v in config.items() if k != "vocab_size"}))
    assert "vocab_size: is required" in refused("--config", str(tmp_path / "no.json"))
    (tmp_path / "odd.json").write_text(json.dumps(config | {"seq_len": 17}))
    assert "--task: can't be told from 6 tokens and 17 cells" in refused("--config", str(tmp_path / "odd.json"))
    (tmp_path / "task.json").write_text('{"kind": "sudoku", "size": 5}')
    assert "task.size: expected one of 4, 6, 9, got 5" in refused("--task", str(tmp_path / "task.json"))
    words[1] = str(tmp_path / "gone")
    assert "gone: can't be read: No such file" in refused()
    for start in (b"PK\x03\x04", b"\x80\x02}q"):
        (tmp_path / "step_1").write_bytes(start + b"x" * 100)
        words[1] = str(tmp_path / "step_1")
        assert "weights_only=True).items()}, 'step_1.safetensors')" in refused()
    (tmp_path / "step_1").write_bytes(b"x" * 100)
    assert "step_1: isn't a safetensors file" in refused()


def test_a_run_is_not_overwritten_and_a_task_may_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "task.json").write_text('{"kind": "sudoku", "test_puzzles": 7}')
    words = [*official(tmp_path, "mlp"), "--task", str(tmp_path / "task.json")]
    assert main(words) == 0
    found = load(tmp_path / "run" / "checkpoints" / "step-00000000")
    assert found.state["config"]["task"] == {**vars(SudokuTask(test_puzzles=7))}
    assert main(words) == 2
    assert "--out: " in capsys.readouterr().err
    assert main(["export-official", str(tmp_path), "--out", str(tmp_path / "x")]) == 2
    assert "checkpoint: " in capsys.readouterr().err
