"""Configuration: what can't be run is refused with every field at fault named; the rest goes through JSON unchanged."""

import dataclasses
import json
import subprocess
import sys
import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laser_core import config as configuration
from laser_core.config import (
    ConfigError,
    CsvTask,
    EvalConfig,
    LaserStore,
    RunConfig,
    SudokuTask,
    TrainConfig,
    config_hash,
    input_names,
    parse_run,
    to_json,
)
from laser_core.schema import json_schema


def problems(data: Any) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        parse_run(data)
    return {problem.field: problem.message for problem in caught.value.problems}


def train(**sections: Any) -> dict[str, Any]:
    return {"kind": "train", **sections}


NONSENSE: dict[str, tuple[Any, str, str]] = {
    "nothing": (None, "", "expected an object with 'kind'"),
    "a list": ([], "", "expected an object"),
    "no kind": ({}, "kind", "expected one of train, eval, analysis, inspect, got None"),
    "another kind": ({"kind": "sweep"}, "kind", "got 'sweep'"),
    "unknown field": (train(colour="red"), "colour", "unknown field"),
    "deep unknown field": (train(training={"step": 3}), "training.step", "unknown field"),
    "batch 0": (train(training={"batch_size": 0}), "training.batch_size", "expected at least 1, got 0"),
    "NaN rate": (train(training={"learning_rate": float("nan")}), "training.learning_rate", "finite"),
    "infinite rate": (train(training={"learning_rate": float("inf")}), "training.learning_rate", "finite"),
    "huge int": (train(training={"learning_rate": 10**400}), "training.learning_rate", "too large"),
    "text for a number": (train(training={"steps": "many"}), "training.steps", "expected a whole number, got 'many'"),
    "true for a number": (train(training={"steps": True}), "training.steps", "expected a whole number"),
    "a broken number": (train(training={"steps": 1.5}), "training.steps", "expected a whole number"),
    "number for true": (train(task={"kind": "sudoku", "augment": 1}), "task.augment", "true or false"),
    "no such size": (train(task={"kind": "sudoku", "size": 5}), "task.size", "expected one of 4, 6, 9, got 5"),
    "true for a size": (train(task={"kind": "sudoku", "size": True}), "task.size", "expected one of"),
    "too many blanks": (train(task={"kind": "sudoku", "max_blanks": 17}), "task.max_blanks", "at most 16"),
    "files without a name": (train(task={"kind": "csv"}), "task.train", "name at least one"),
    "no training file": (train(task={"kind": "csv", "test": "x"}), "task.train", "name the dataset to train on"),
    "heads": (train(model={"width": 64, "heads": 5}), "model.heads", "must divide width 64, got 5"),
    "odd heads": (train(model={"width": 12, "heads": 4}), "model.heads", "even head size"),
    "positions": (train(model={"puzzle_positions": 2}), "model.puzzle_positions", "needs puzzle_embedding"),
    "few positions": (
        train(model={"puzzle_positions": 1, "puzzle_embedding": 65}), "model.puzzle_positions", "hold 64 numbers",
    ),
    "rank": (train(store={"kind": "laser", "rank": 65}), "store.rank", "at most the model's width 64, got 65"),
    "energy": (train(store={"kind": "laser", "energy": 1.01}), "store.energy", "at most 1"),
    "no energy": (train(store={"kind": "laser-coded", "energy": 0}), "store.energy", "more than 0, got 0"),
    "half a code": (train(store={"kind": "quant", "bits": 3}), "store.bits", "expected one of 4, 8, got 3"),
    "a code of nothing": (train(store={"kind": "quant", "bits": 0}), "store.bits", "expected one of 4, 8, got 0"),
    "no rank": (train(store={"kind": "asi", "rank": 0}), "store.rank", "at least 1, got 0"),
    "rank of a control": (train(store={"kind": "random", "rank": 65}), "store.rank", "at most the model's width 64"),
    "budget 0": (train(store={"kind": "auto", "memory_budget": 0}), "store.memory_budget", "more than 0, got 0"),
    "no budget": (train(store={"kind": "auto"}), "store.memory_budget", ""),
    "budget above all": (train(store={"kind": "laser", "budget_fraction": 2}), "store.budget_fraction", "at most 1"),
    "budget and rank": (train(store={"kind": "laser", "budget_fraction": 0.1, "rank": 3}), "store.rank", "expected 0"),
    "store": (train(store={"kind": "magic"}), "store.kind", "expected one of none, checkpoint, laser, laser-fused"),
    "store without kind": (train(store={}), "store.kind", "got None"),
    "ema 1": (train(training={"ema": 1}), "training.ema", "less than 1"),
    "long name": (train(name="x" * 121), "name", "at most 120"),
    "many tags": (train(tags=["a"] * 17), "tags", "at most 16"),
    "empty tag": (train(tags=[""]), "tags", "1 to 40 characters"),
    "tags as text": (train(tags="abc"), "tags", "expected a list"),
    "seed": (train(seed=-1), "seed", "at least 0"),
    "section of another shape": (train(model=3), "model", "expected an object, got 3"),
    "eval without checkpoint": ({"kind": "eval"}, "checkpoint", "is required"),
    "eval of nothing": ({"kind": "eval", "checkpoint": ""}, "checkpoint", "name the run"),
    "device": (train(device="tpu"), "device", "expected one of auto, cpu, cuda"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "field", "message"), NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_refused_by_name(data: Any, field: str, message: str) -> None:
    found = problems(data)
    assert list(found) == [field]
    assert message in found[field]


def test_every_field_at_fault_is_named_at_once() -> None:
    data = train(colour=1, training={"steps": 0, "batch_size": 0, "epochs": 1}, model={"width": "wide"})
    assert set(problems(data)) == {
        "colour",
        "training.epochs",
        "training.steps",
        "training.batch_size",
        "model.width",
    } - (
        {"training.steps", "training.batch_size"}  # limits are looked at once every name and type is right
    )


def test_constructors_check_as_parsing_does() -> None:
    with pytest.raises(ConfigError, match="rank"):
        TrainConfig(store=LaserStore(rank=1000))
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().seed = 3  # type: ignore[misc]


CONFIGS = st.one_of(
    st.builds(
        TrainConfig,
        name=st.text(max_size=20),
        tags=st.lists(st.text(min_size=1, max_size=5), max_size=3).map(tuple),
        seed=st.integers(0, 2**31 - 1),
        task=st.one_of(
            st.builds(SudokuTask, data_seed=st.integers(0, 9)),
            st.builds(CsvTask, train=st.text(min_size=1, max_size=9)),
        ),
        store=st.one_of(st.builds(LaserStore, energy=st.floats(0.1, 1)), st.just(configuration.NoneStore())),
    ),
    st.builds(EvalConfig, checkpoint=st.text(min_size=1, max_size=9), max_puzzles=st.integers(0, 99)),
)


@given(CONFIGS)
def test_a_configuration_goes_through_json_unchanged(config: RunConfig) -> None:
    again = parse_run(json.loads(json.dumps(to_json(config))))
    assert again == config
    assert config_hash(again) == config_hash(config)


def test_the_hash_tells_configurations_apart() -> None:
    assert config_hash(TrainConfig()) != config_hash(TrainConfig(seed=1))
    assert config_hash(TrainConfig()) == config_hash(parse_run({"kind": "train"}))


def test_inputs_are_the_datasets_named() -> None:
    assert input_names(TrainConfig()) == ()
    assert input_names(TrainConfig(task=CsvTask(train="a", test="b"))) == ("a", "b")
    assert input_names(EvalConfig(checkpoint="r", task=CsvTask(test="b"))) == ("b",)


# --- JSON Schema


def test_the_schema_describes_every_field_with_help_and_default() -> None:
    schema, definitions = json_schema(RunConfig)
    assert schema["discriminator"]["propertyName"] == "kind"
    assert set(schema["discriminator"]["mapping"]) == {"train", "eval", "analysis", "inspect"}
    for name, definition in definitions.items():
        assert definition["additionalProperties"] is False
        assert definition["description"], name
        assert set(definition["required"]) <= set(definition["properties"])
    steps = definitions["TrainingConfig"]["properties"]["steps"]
    assert steps == {
        "type": "integer", "minimum": 1, "maximum": 100_000_000, "default": 1000,
        "description": "Optimiser steps; each is one supervision step of a batch.",
    }  # fmt: skip
    assert definitions["EvalConfig"]["required"] == ["checkpoint"]
    assert definitions["TrainConfig"]["properties"]["tags"]["items"] == {
        "type": "string",
        "minLength": 1,
        "maxLength": 40,
    }


def test_every_reference_of_the_schema_is_defined() -> None:
    schema, definitions = json_schema(RunConfig, ref="#/x/")
    text = json.dumps([schema, definitions])
    references = {part.split('"')[0] for part in text.split("#/x/")[1:]}
    assert references == set(definitions)


NEEDED: dict[str, dict[str, Any]] = {
    "EvalConfig": {"checkpoint": "r"},
    "AnalysisConfig": {"checkpoint": "r"},
    "InspectConfig": {"checkpoint": "r"},
    "CsvTask": {"train": "a"},
    "ArcTask": {"challenges": "a"},
    "AutoStore": {"memory_budget": 1.0},
}


def test_defaults_are_valid() -> None:
    _, definitions = json_schema(RunConfig)
    for name in definitions:
        cls = getattr(configuration, name)
        assert to_json(cls(**NEEDED.get(name, {})))
        assert typing.get_type_hints(cls)


def test_configuration_and_events_load_no_torch() -> None:
    program = "import sys, laser_core.config, laser_core.events, laser_core.schema; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_store_kinds_are_those_of_the_union() -> None:
    kinds = {cls.__dataclass_fields__["kind"].default for cls in typing.get_args(configuration.Store)}
    assert set(typing.get_args(configuration.StoreKind)) == kinds
