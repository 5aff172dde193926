"""The model equals the official implementation, by numbers recorded from it."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from laser_core import parity
from laser_core.config import ModelConfig

REFERENCE = Path(__file__).parent / "reference"


@pytest.mark.parametrize("name", ["attention", "mlp"])
def test_every_store_gives_the_official_numbers(name):
    report = parity.run(REFERENCE / f"trm_{name}.safetensors", REFERENCE / f"trm_{name}.json")
    assert set(report["stores"]) >= {"none", "checkpoint", "laser", "laser-fused", "laser-coded", "asi", "random"}
    assert report["ok"]
    assert report["max_abs_error"] == report["stores"]["none"]["max_abs_error"]
    assert set(report["max_abs_error"]) == {"logits", "q_halt_logits", "z_H", "z_L", "loss", "grad"}
    plain = report["max_abs_error"]
    for store, found in report["stores"].items():
        for number, error in found["max_abs_error"].items():
            if number != "grad":
                assert error == plain[number], store  # forward to the bit
        assert abs(found["max_abs_error"]["grad"] - plain["grad"]) <= (0 if "checkpoint" in store else 1e-4), store
    json.dumps(report)


@pytest.mark.parametrize("name", ["attention", "mlp"])
def test_the_recording_is_as_near_to_exact_arithmetic_as_this_machine_is(name):
    """Whatever the processor: the first step, before recursion amplifies, within 4e-5 of each other and of float64."""
    report = parity.run(REFERENCE / f"trm_{name}.safetensors", REFERENCE / f"trm_{name}.json", "none")
    assert set(report["rounding"]) == {"step0", "step1", "step2", "grad"}
    assert 0 < report["rounding"]["step0"] < 4e-5
    assert max(report["max_abs_error"].values()) <= 4 * max(report["rounding"].values())


def test_one_store_alone():
    report = parity.run(REFERENCE / "trm_mlp.safetensors", REFERENCE / "trm_mlp.json", "laser-fused")
    assert list(report["stores"]) == ["laser-fused"]


def test_a_wrong_number_is_seen(tmp_path):
    tensors = load_file(REFERENCE / "trm_mlp.safetensors")
    tensors["step1.z_L"][0, 0, 0] += 1e-2
    tensors["step2.grad.inner.lm_head.weight"][0, 0] = torch.nan
    save_file(tensors, tmp_path / "v.safetensors")
    report = parity.run(tmp_path / "v.safetensors", REFERENCE / "trm_mlp.json", "none")
    assert not report["ok"]
    assert report["max_abs_error"]["z_L"] == pytest.approx(1e-2, rel=0.1)
    assert report["max_abs_error"]["grad"] == torch.inf


OFFICIAL = json.loads((REFERENCE / "trm_attention.json").read_text())["config"]


def test_configuration_of_other_shapes():
    changes = {"puzzle_emb_ndim": 0, "puzzle_emb_len": 16, "pos_encodings": "anything", "L_layers": 3, "num_heads": 8}
    assert parity.model_config(OFFICIAL | changes) == ModelConfig(
        width=64, heads=8, layers=3, latent_steps=2, cycles=3, expansion=4.0, positions="none"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": None}, "hidden_size: expected int, got None"),
        ({"num_heads": 7}, "num_heads: must divide width 64, got 7"),
        ({"L_layers": 0}, "L_layers: expected at least 1, got 0"),
        ({"rope_theta": 1.0}, "rope_theta: expected 10000.0"),
        ({"forward_dtype": "bfloat16"}, "forward_dtype: expected 'float32'"),
        ({"vocab_size": 7}, r"token_embedding.weight of this configuration has the shape \(7, 64\), got \(6, 64\)"),
        ({"L_layers": 3}, "the vectors file has no weight for this model's layers.2"),
        ({"L_layers": 1}, "this configuration's model has no layers.1"),
        ({"seq_len": 9}, "seq_len: the batch has 16 cells, the config 9"),
        ({"puzzle_emb_ndim": 0}, "this configuration's model has no puzzle_table"),
    ],
    ids=str,
)
def test_a_wrong_configuration_is_named(tmp_path, change, message):
    (tmp_path / "c.json").write_text(json.dumps({"config": OFFICIAL | change}))
    with pytest.raises(ValueError, match=message):
        parity.run(REFERENCE / "trm_attention.safetensors", tmp_path / "c.json", "none")


@pytest.mark.parametrize("field", ["hidden_size", "vocab_size", "pos_encodings", "seq_len"])
def test_a_missing_field_is_named(tmp_path, field):
    config = {name: value for name, value in OFFICIAL.items() if name != field}
    (tmp_path / "c.json").write_text(json.dumps({"config": config}))
    with pytest.raises(ValueError, match=f"{field}: is required"):
        parity.run(REFERENCE / "trm_attention.safetensors", tmp_path / "c.json")


def test_missing_and_unknown_tensors_are_named(tmp_path):
    tensors = load_file(REFERENCE / "trm_attention.safetensors")
    del tensors["step1.logits"]
    save_file(tensors, tmp_path / "v.safetensors")
    with pytest.raises(ValueError, match=r"step1\.logits: the vectors file has no such tensor"):
        parity.run(tmp_path / "v.safetensors", REFERENCE / "trm_attention.json", "none")
    tensors["state.inner.surprise"] = torch.zeros(1)
    save_file(tensors, tmp_path / "v.safetensors")
    with pytest.raises(ValueError, match=r"state\.inner\.surprise: not a weight of this model"):
        parity.run(tmp_path / "v.safetensors", REFERENCE / "trm_attention.json", "none")


def test_files_that_are_none(tmp_path):
    (tmp_path / "bad").write_text("[1")
    with pytest.raises(ValueError, match="config file"):
        parity.run(REFERENCE / "trm_mlp.safetensors", tmp_path / "bad")
    with pytest.raises(ValueError, match="vectors file"):
        parity.run(tmp_path / "bad", REFERENCE / "trm_mlp.json")
    with pytest.raises(ValueError, match="store: expected one of none"):
        parity.run(REFERENCE / "trm_mlp.safetensors", REFERENCE / "trm_mlp.json", "other")
