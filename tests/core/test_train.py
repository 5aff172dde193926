"""Training tells the same story every time, resumes bit for bit from any checkpoint, and learns."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from laser_core.checkpoint import Checkpoint, load, save
from laser_core.config import ConfigError, TrainConfig
from laser_core.events import Event, Log, Memory, Metrics, Progress, Result, Snapshot, Started, Trace
from laser_core.train import train

Make = Callable[..., TrainConfig]
STORES: list[dict[str, Any]] = [
    {"kind": "none"},
    {"kind": "checkpoint"},
    {"kind": "laser", "update_every": 2},
    {"kind": "laser-fused", "update_every": 2},
]
by_store = pytest.mark.parametrize("store", STORES, ids=[store["kind"] for store in STORES])


def story(events: Iterable[Event]) -> list[Event]:
    """What must be the same each time: everything but progress, logs and times; snapshots without their tensors."""
    told: list[Event] = []
    for event in events:
        match event:
            case Metrics(step, values):
                told.append(Metrics(step, {name: x for name, x in values.items() if not name.startswith("time.")}))
            case Result(values, sha256):
                told.append(Result({name: x for name, x in values.items() if not name.endswith("_s")}, sha256))
            case Snapshot(step):
                told.append(Snapshot(step, {}, {}, {}))
            case Trace() | Memory():
                told.append(event)
    return told


def of(kind: type, events: Iterable[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def weights(event: Snapshot | Checkpoint) -> dict[str, torch.Tensor]:
    return {**event.model, **event.training}


@by_store
def test_two_runs_tell_the_same(tiny: Make, store: dict[str, Any]) -> None:
    config = tiny(store=store)
    first = story(train(config))
    assert first == story(train(config))
    assert first[-1] != story(train(tiny(store=store, seed=1)))[-1]


@by_store
@pytest.mark.parametrize("block", ["attention", "mlp"])
def test_resuming_from_any_checkpoint_equals_never_stopping(
    tmp_path: Path, tiny: Make, store: dict[str, Any], block: str
) -> None:
    config = tiny(store=store, model={"block": block, "puzzle_embedding": 16}, training={"evaluate_every": 6})
    whole: list[Event] = []
    folders = []
    for event in train(config):
        whole.append(event)
        if isinstance(event, Snapshot):
            folders.append(tmp_path / save(event, tmp_path, keep=9).name)
    told = story(whole)
    assert [event.step for event in of(Snapshot, told)] == [5, 10, 12]
    final = load(folders[-1])
    for folder in folders:
        checkpoint = load(folder)
        resumed: list[Event] = []
        for event in train(config, checkpoint):
            resumed.append(event)
            if isinstance(event, Snapshot) and event.step == 12:
                for name, tensor in weights(event).items():
                    assert torch.equal(tensor, weights(final)[name]), name
        place = next(i for i, e in enumerate(told) if isinstance(e, Snapshot) and e.step == checkpoint.step)
        expected = told[place + (checkpoint.step < 12) :]
        assert story(resumed) == expected


def test_the_events_of_a_run(tiny: Make) -> None:
    events = list(train(tiny(training={"evaluate_every": 6})))
    assert [event.step for event in of(Metrics, events) if "train.loss" in event.values] == [3, 6, 9, 12]
    assert [event.step for event in of(Metrics, events) if "test.exact_accuracy" in event.values] == [6, 12]
    started, result = events[0], events[-1]
    assert isinstance(started, Started)
    assert (started.step, started.steps, started.device) == (0, 12, "cpu (1 thread)")
    assert len(started.environment["code"]) == 16
    assert (started.environment["threads"], started.environment["deterministic algorithms"]) == ("1", "off")
    assert isinstance(events[1], Log)
    assert of(Progress, events)[-1].step == 12
    assert isinstance(result, Result)
    assert set(result.values) == {
        "exact_accuracy", "cell_accuracy", "loss", "saved_bytes", "eager_bytes", "step_time_s", "steps", "puzzles",
    }  # fmt: skip
    assert (result.values["steps"], result.values["puzzles"]) == (12, 12)
    assert result.values["step_time_s"] > 0
    assert len(result.weights_sha256) == 64
    assert set(of(Metrics, events)[0].values) >= {
        "train.loss", "train.lm_loss", "train.halt_loss", "train.learning_rate", "train.gradient_norm",
        "memory.saved_bytes", "memory.eager_bytes", "time.step_s",
    }  # fmt: skip


def test_memory_is_measured_at_the_first_step_and_when_the_bytes_change(tiny: Make) -> None:
    plain = of(Memory, train(tiny()))
    assert [event.step for event in plain] == [1]
    assert plain[0].saved_bytes == plain[0].eager_bytes > 0
    config = tiny(store={"kind": "laser", "update_every": 2, "energy": 0.5})
    events = list(train(config))
    memories = of(Memory, events)
    assert memories[-1].saved_bytes < memories[-1].eager_bytes == plain[0].eager_bytes
    assert of(Result, events)[0].values["saved_bytes"] == memories[-1].saved_bytes
    assert of(Trace, events)


def test_the_stores_share_the_forward_pass(tiny: Make) -> None:
    """The first metric point's loss comes before any difference in the weights can."""
    losses = [
        next(
            e.values["train.loss"]
            for e in train(tiny(store=store, training={"log_every": 1}))
            if isinstance(e, Metrics)
        )
        for store in STORES
    ]
    assert len(set(losses)) == 1


def test_it_learns(tiny: Make) -> None:
    """Eight puzzles without augmentation are soon known by heart."""
    config = tiny(
        task={"train_puzzles": 8, "test_puzzles": 8, "augment": False, "max_blanks": 6},
        model={"width": 32, "block": "mlp"},
        training={
            "steps": 80, "batch_size": 8, "learning_rate": 5e-3, "ema": 0.8, "log_every": 10, "checkpoint_every": 1000,
            "supervision_steps": 2, "weight_decay": 0.0,
        },
    )  # fmt: skip
    losses = [event.values["train.lm_loss"] for event in of(Metrics, train(config)) if "train.lm_loss" in event.values]
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize(
    "change",
    [
        {"supervision_steps": 1},
        {"halt_exploration": 0.0},
        {"halt_exploration": 1.0},
        {"ema": 0.0},
        {"schedule": "constant"},
        {"warmup_steps": 0},
        {"log_every": 100},
        {"checkpoint_every": 100},
        {"weight_decay": 0.0, "beta1": 0.0, "beta2": 0.0},
        {"steps": 1},
    ],
    ids=str,
)
def test_every_training_option_runs(tiny: Make, change: dict[str, Any]) -> None:
    result = list(train(tiny(training=change)))[-1]
    assert isinstance(result, Result)
    assert result.values["loss"] > 0


@pytest.mark.parametrize(
    "change", [{"positions": "learned"}, {"positions": "none"}, {"puzzle_embedding": 40}, {"layers": 3}]
)
def test_every_model_option_runs(tiny: Make, change: dict[str, Any]) -> None:
    assert isinstance(list(train(tiny(model=change, training={"steps": 2})))[-1], Result)


def test_puzzle_embeddings_are_trained_only_where_asked(tiny: Make) -> None:
    plain, embedded = (of(Snapshot, train(tiny(model={"puzzle_embedding": numbers})))[-1].model for numbers in (0, 16))
    assert "raw.puzzle_table" not in plain
    assert embedded["raw.puzzle_table"].abs().sum() > 0


def test_without_averaging_the_evaluated_weights_are_the_raw_ones(tiny: Make) -> None:
    model = of(Snapshot, train(tiny(training={"ema": 0.0})))[-1].model
    for name in model:
        if name.startswith("ema."):
            assert torch.equal(model[name], model["raw." + name.removeprefix("ema.")])


def test_a_diverging_run_stops_with_a_clear_error(tiny: Make) -> None:
    config = tiny(training={"learning_rate": 1.0, "warmup_steps": 0, "steps": 60, "weight_decay": 10.0})
    with pytest.raises(FloatingPointError, match=r"became (nan|inf) at step \d+; try a lower learning rate"):
        list(train(config))


def test_no_checkpoint_holds_weights_that_are_not_finite(tiny: Make) -> None:
    events = train(tiny(training={"steps": 30}))
    seen: list[int] = []

    def follow() -> None:
        for event in events:
            if isinstance(event, Snapshot):
                assert all(x.isfinite().all() for x in event.model.values())
                seen.append(event.step)
                if event.step == 10:  # the tensors are the live ones
                    event.model["raw.lm_head.weight"].fill_(float("nan"))

    with pytest.raises(FloatingPointError, match="the loss became nan at step 11"):
        follow()
    assert seen == [5, 10]


def test_leaving_the_loop_cancels(tiny: Make) -> None:
    events = train(tiny(training={"steps": 10**8}))
    for event in events:
        if isinstance(event, Metrics):
            break
    events.close()  # type: ignore[attr-defined]
    assert next(events, None) is None


@pytest.mark.parametrize("at", [0, 7])  # 0: asked to pause before the first step
def test_a_pause_ends_with_a_checkpoint_that_goes_on(tmp_path: Path, tiny: Make, at: int) -> None:
    config, steps = tiny(), iter([False] * at)
    events = []
    for event in train(config, wants_pause=lambda: next(steps, True)):
        events.append(event)
        if isinstance(event, Snapshot):
            save(event, tmp_path)
    assert isinstance(events[-1], Snapshot)
    assert events[-1].step == at
    resumed = list(train(config, load(tmp_path / f"step-{at:08d}")))[-1]
    assert story([resumed]) == story(list(train(config))[-1:])


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path, tiny: Make) -> None:
    config = tiny()
    first = next(event for event in train(config) if isinstance(event, Snapshot))
    checkpoint = load(tmp_path / save(first, tmp_path).name)
    next(train(replace(config, name="renamed", tags=("a",)), checkpoint))
    with pytest.raises(ConfigError, match=r"training.steps: the checkpoint was trained with 12, not 13"):
        next(train(tiny(training={"steps": 13}), checkpoint))


def test_a_checkpoint_from_before_an_option_goes_on_with_what_was_then_the_only_way(tmp_path: Path, tiny: Make) -> None:
    config = tiny(store={"kind": "laser-coded"})
    first = next(event for event in train(config) if isinstance(event, Snapshot))
    checkpoint = load(tmp_path / save(first, tmp_path).name)
    del checkpoint.state["config"]["store"]["codes"]
    next(train(config, checkpoint))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_refused(tiny: Make) -> None:
    with pytest.raises(ConfigError, match="device: cuda was asked for, but"):
        next(train(replace(tiny(), device="cuda")))
