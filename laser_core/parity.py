"""Compares the model with numbers recorded from the official TRM implementation (float32, on CPU).

The recording is a safetensors file: ``batch.{inputs,labels,puzzle_identifiers}``, ``state.*`` (weights under their official
names), and for supervision steps 0–2 ``step{i}.{logits,q_halt_logits,z_H,z_L,loss,halted}``, with ``step2.grad.*`` of the
loss summed over the batch. The carry starts with every row halted.

Recursion amplifies rounding, which differs between processors: a hundredfold and more over three supervision steps. So the
same steps are also taken in float64, and an error may be as large as a few times the one that float32 makes on this machine.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from laser_core.config import (
    AsiStore,
    CheckpointStore,
    LaserCodedStore,
    LaserFusedStore,
    LaserStore,
    ModelConfig,
    NoneStore,
    RandomStore,
    Store,
)  # fmt: skip
from laser_core.loss import act_loss
from laser_core.model import TRM, Batch
from laser_core.schema import ConfigError
from laser_core.stores import make_store

STORES: dict[str, tuple[Store, float]] = {  # with the largest error allowed; LASER at full rank
    "none": (NoneStore(), 1e-5),
    "checkpoint": (CheckpointStore(), 1e-5),
    "checkpoint per call": (CheckpointStore(unit="call"), 1e-5),
    "laser": (LaserStore(energy=1.0), 1e-4),
    "laser-fused": (LaserFusedStore(energy=1.0), 1e-4),
    "laser-coded": (LaserCodedStore(energy=1.0), 1e-4),
    "laser-coded per call": (LaserCodedStore(energy=1.0, keep="call"), 1e-4),
    "asi": (AsiStore(rank=4096), 1e-4),  # complete bases
    "random": (RandomStore(rank=4096), 1e-4),
}
STEPS = 3
ROUNDING = 4.0  # times this machine's own: two roundings, and the luck of which entry is the worst

# The official configuration's fields under our names, with their types.
_FIELDS: dict[str, tuple[str, type]] = {
    "hidden_size": ("width", int),
    "num_heads": ("heads", int),
    "L_layers": ("layers", int),
    "L_cycles": ("latent_steps", int),
    "H_cycles": ("cycles", int),
    "expansion": ("expansion", float),
    "puzzle_emb_ndim": ("puzzle_embedding", int),
    "puzzle_emb_len": ("puzzle_positions", int),
}
_OPTIONAL = {"puzzle_emb_ndim": 0, "puzzle_emb_len": 16, "mlp_t": False}  # the official defaults
_FIXED = {"rms_norm_eps": 1e-5, "rope_theta": 10000.0, "forward_dtype": "float32", "no_ACT_continue": True}

# Official weight names (below ``inner.``) and ours.
_NAMES = {
    "H_init": "answer_init",
    "L_init": "latent_init",
    "embed_tokens.embedding_weight": "token_embedding.weight",
    "embed_pos.embedding_weight": "position_embedding.weight",
    "puzzle_emb.weights": "puzzle_table",
    "lm_head.weight": "lm_head.weight",
    "q_head.weight": "halt_head.weight",
    "q_head.bias": "halt_head.bias",
}
_LAYER_NAMES = {
    "self_attn.qkv_proj": "mixer.inner",
    "self_attn.o_proj": "mixer.outer",
    "mlp_t.gate_up_proj": "mixer.inner",
    "mlp_t.down_proj": "mixer.outer",
    "mlp.gate_up_proj": "mlp.inner",
    "mlp.down_proj": "mlp.outer",
}


def run(vectors_path: Path, config_path: Path, store: str | None = None) -> dict[str, Any]:
    """Largest absolute errors against the recording, by store: ``{"max_abs_error": {...}, "ok": bool, "stores": {...}}``.

    ``max_abs_error`` is that of store ``none`` (or of ``store``, if given, which then runs alone); ``rounding`` by step what
    float32 makes of store ``none`` on this machine; ``ok`` says whether every store run is within its bound, or within
    ``ROUNDING`` times that. Raises ValueError naming the field or tensor that is missing or wrong.
    """
    if store is not None and store not in STORES:
        raise ValueError(f"store: expected one of {', '.join(STORES)}, got {store!r}")
    official = read_config(config_path)
    vectors = _Vectors(vectors_path)
    rounding = _rounding(vectors, official)
    reports = {}
    for name in [store] if store else STORES:
        errors = _errors(_numbers(vectors, official, STORES[name][0]), vectors)
        allowed = {number: max(STORES[name][1], ROUNDING * rounding[_where(number)]) for number in errors}
        ok = all(error <= allowed[number] for number, error in errors.items())
        reports[name] = {"max_abs_error": _largest(errors, _what), "ok": ok}
    first = next(iter(reports.values()))
    return {
        "max_abs_error": first["max_abs_error"],
        "rounding": rounding,
        "ok": all(report["ok"] for report in reports.values()),
        "stores": reports,
    }


def model_config(official: Mapping[str, Any]) -> ModelConfig:
    """Our model configuration from the official one. Raises ValueError naming the official field."""
    values: dict[str, Any] = {ours: _field(official, name, type_) for name, (ours, type_) in _FIELDS.items()}
    if not values["puzzle_embedding"]:
        values["puzzle_positions"] = 0
    positions = _field(official, "pos_encodings", str)
    values["positions"] = positions if positions in ("rope", "learned") else "none"
    values["block"] = "mlp" if _field(official, "mlp_t", bool) else "attention"
    for name, expected in _FIXED.items():
        if official.get(name, expected) != expected:
            raise ValueError(f"{name}: expected {expected!r}, the only value this model has, got {official[name]!r}")
    try:
        return ModelConfig(**values)
    except ConfigError as error:
        official_names = {ours: name for name, (ours, _) in _FIELDS.items()}
        text = "; ".join(f"{official_names.get(p.field, p.field)}: {p.message}" for p in error.problems)
        raise ValueError(text) from error


def our_name(official: str) -> str:
    """Our name of an official weight, ``inner.`` and what stands before it dropped. Raises ValueError for an unknown one."""
    name = official.removeprefix("inner.")
    parts = name.split(".")
    layer = ".".join(parts[3:5])
    if name.startswith("L_level.layers.") and layer in _LAYER_NAMES and parts[5:] == ["weight"]:
        return f"layers.{parts[2]}.{_LAYER_NAMES[layer]}.weight"
    if name not in _NAMES:
        raise ValueError(f"state.{official}: not a weight of this model")
    return _NAMES[name]


def official_config(config: ModelConfig) -> dict[str, Any]:
    """The official model's configuration that ``model_config`` turns into an equal one."""
    values = {name: getattr(config, ours) for name, (ours, _) in _FIELDS.items()}
    return values | {"pos_encodings": config.positions, "mlp_t": config.block == "mlp"} | _FIXED


def official_name(ours: str, config: ModelConfig) -> str:
    """The official name of one of our weights, which ``our_name`` turns back."""
    if ours.startswith("layers."):
        _, index, layer = ours.removesuffix(".weight").split(".", 2)
        mixer = "mlp_t." if config.block == "mlp" else "self_attn."
        names = {our: name for name, our in _LAYER_NAMES.items() if name.startswith((mixer, "mlp."))}
        return f"inner.L_level.layers.{index}.{names[layer]}.weight"
    return "inner." + next(name for name, our in _NAMES.items() if our == ours)


def read_config(path: Path) -> Mapping[str, Any]:
    """The official configuration in a JSON file, bare or under ``config``. Raises ValueError."""
    try:
        data = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"config file {path}: {error}") from error
    config = data.get("config", data) if isinstance(data, dict) else data
    if not isinstance(config, dict):
        raise ValueError(f"config: expected an object of the official configuration's fields, got {config!r:.60}")
    return config


def _field(official: Mapping[str, Any], name: str, type_: type) -> Any:
    if name not in official and name not in _OPTIONAL:
        raise ValueError(f"{name}: is required")
    value = official.get(name, _OPTIONAL.get(name))
    if type_ is float and type(value) is int:
        value = float(value)
    if type(value) is not type_:
        raise ValueError(f"{name}: expected {type_.__name__}, got {value!r:.60}")
    return value


class _Vectors:
    """The recording's tensors, by name."""

    def __init__(self, path: Path) -> None:
        try:
            self._tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise ValueError(f"vectors file {path}: {error}") from error

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._tensors:
            raise ValueError(f"{name}: the vectors file has no such tensor")
        return self._tensors[name]

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with ``prefix``, which is dropped."""
        return {name.removeprefix(prefix): t for name, t in self._tensors.items() if name.startswith(prefix)}


def _numbers(
    vectors: _Vectors, official: Mapping[str, Any], store: Store, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """What the model makes of the recorded batch, under the recording's names."""
    weights = {our_name(name): tensor for name, tensor in vectors.under("state.").items()}
    model = load_weights(official, weights, store, "vectors file").to(dtype)
    batch = Batch(vectors["batch.inputs"], vectors["batch.labels"], vectors["batch.puzzle_identifiers"])
    if batch.inputs_BS.shape[-1] != model.seq_len:
        raise ValueError(f"seq_len: the batch has {batch.inputs_BS.shape[-1]} cells, the config {model.seq_len}")
    carry = model.initial_carry(len(batch.inputs_BS))
    numbers: dict[str, Tensor] = {}
    for step in range(STEPS):
        model.store.begin_step(step + 1)
        model.zero_grad()
        carry, outputs = model.supervision_step(carry, batch)
        loss = act_loss(outputs, carry.data.labels_BS).total
        loss.backward()  # type: ignore[no-untyped-call]
        model.store.end_step()
        ours = {"logits": outputs.logits_BSV, "q_halt_logits": outputs.halt_logit_B, "loss": loss.view(1)}
        ours |= {"z_H": carry.answer_BLD, "z_L": carry.latent_BLD}
        numbers |= {f"step{step}.{name}": tensor.detach() for name, tensor in ours.items()}
        carry = dataclasses.replace(carry, halted_B=vectors[f"step{step}.halted"])
    return numbers | _gradients(model, outputs.puzzle_rows_BE, vectors)


def _gradients(model: TRM, puzzle_rows_BE: Tensor | None, vectors: _Vectors) -> dict[str, Tensor]:
    prefix = f"step{STEPS - 1}.grad."
    left = {name: parameter.grad for name, parameter in model.named_parameters()}
    found = {}
    for name in vectors.under(prefix):
        gradient = puzzle_rows_BE.grad if name == "puzzle_rows" and puzzle_rows_BE is not None else None
        if name != "puzzle_rows":
            gradient = left.pop(our_name(name), None)
        if gradient is None:
            raise ValueError(f"{prefix}{name}: this configuration's model has no such gradient")
        found[prefix + name] = gradient
    if left:
        raise ValueError(f"{prefix}*: the vectors file has no gradient for {', '.join(sorted(left))}")
    return found


def _errors(ours: Mapping[str, Tensor], theirs: _Vectors | Mapping[str, Tensor]) -> dict[str, float]:
    """The largest absolute error of every tensor."""
    errors = {}
    for name, tensor in ours.items():
        if tensor.numel() != theirs[name].numel():
            raise ValueError(f"{name}: expected the shape {tuple(tensor.shape)}, got {tuple(theirs[name].shape)}")
        error = (tensor.double() - theirs[name].double().view_as(tensor)).abs().max()
        errors[name] = float(torch.nan_to_num(error, nan=torch.inf))
    return errors


def _rounding(vectors: _Vectors, official: Mapping[str, Any]) -> dict[str, float]:
    """How far float32 is from float64 on this machine: the worst of every step, and of the gradients."""
    exact = _numbers(vectors, official, NoneStore(), torch.float64)
    return _largest(_errors(_numbers(vectors, official, NoneStore()), exact), _where)


def _largest(errors: Mapping[str, float], group: Callable[[str], str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, error in errors.items():
        found[group(name)] = max(found.get(group(name), 0.0), error)
    return found


def _where(name: str) -> str:
    """``step1`` of ``step1.z_H``; ``grad`` of ``step2.grad.…``."""
    return "grad" if ".grad." in name else name.partition(".")[0]


def _what(name: str) -> str:
    """``z_H`` of ``step1.z_H``; ``grad`` of ``step2.grad.…``."""
    return name.split(".")[1]


def load_weights(official: Mapping[str, Any], weights: Mapping[str, Tensor], store: Store, file: str) -> TRM:
    """The model of an official configuration with its weights under our names, which come from ``file``.

    Raises ValueError naming the field or weight that is missing, too many or of another shape.
    """
    sizes = [_field(official, name, int) for name in ("vocab_size", "seq_len", "num_puzzle_identifiers")]
    model = TRM(model_config(official), *sizes, store=make_store(store))
    for name, tensor in model.state_dict().items():
        if name not in weights:
            raise ValueError(f"state: the {file} has no weight for this model's {name}")
        if weights[name].shape != tensor.shape:
            shapes = f"{tuple(tensor.shape)}, got {tuple(weights[name].shape)}"
            raise ValueError(f"state: {name} of this configuration has the shape {shapes}")
    if unused := weights.keys() - model.state_dict().keys():
        raise ValueError(f"state: this configuration's model has no {', '.join(sorted(unused))}")
    model.load_state_dict(weights)
    return model
