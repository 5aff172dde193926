"""ARC: grids come through tokens and augmentations unharmed, tasks keep their identifiers, and the vote counts."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from laser_core.arc import END, FIRST_COLOUR, Augmentations, extents, tokens, vote, voted_accuracy
from laser_core.arc_file import ArcFileError, Grid, parse_tasks
from laser_core.checkpoint import Checkpoint
from laser_core.config import ArcTask, ConfigError, EvalConfig, TrainConfig, input_names
from laser_core.evaluate import evaluate
from laser_core.events import Log, Result, Snapshot
from laser_core.model import TRM
from laser_core.stores import ActivationStore
from laser_core.tasks import PuzzleTask, prepare
from laser_core.tasks.arc import ArcRules
from laser_core.train import train

CPU = torch.device("cpu")
SIZE = 6
SIDES = st.integers(1, SIZE)


def grid(height: int, width: int, seed: int = 0) -> Grid:
    return torch.randint(0, 10, (height, width), generator=torch.Generator().manual_seed(seed)).tolist()


def table(tasks: int = 3, augmentations: int = 30) -> Augmentations:
    return Augmentations.draw(tasks, augmentations, SIZE, torch.Generator().manual_seed(1))


# --- grids


def test_tokens_are_the_official_ones() -> None:
    assert tokens([[[0, 9], [1, 2]]], 3).view(3, 3).tolist() == [[2, 11, 1], [3, 4, 1], [1, 1, 0]]
    assert tokens([[[5]] * 3], 3).view(3, 3).tolist() == [[7, 1, 0]] * 3
    with pytest.raises(ValueError, match="4×1 is larger than 3×3"):
        tokens([[[5]] * 4], 3)


@given(SIDES, SIDES, st.integers(0, 99))
def test_augmentations_are_undone_exactly(height: int, width: int, seed: int) -> None:
    ids = torch.arange(1, 1 + 3 * 31)
    plain = tokens([grid(height, width, seed)], SIZE).expand(len(ids), -1)
    there = table().apply(plain, ids)
    assert torch.equal(table().undo(there, ids), plain)
    assert torch.equal(there[::31], plain[:3])  # each task's first copy is the task itself
    sides = torch.stack(extents(there, SIZE), 1).sort(1).values
    assert (sides == torch.tensor(sorted((height, width)))).all()
    for black in (plain == FIRST_COLOUR, there == FIRST_COLOUR):
        assert (black.sum(1) == sum(row.count(0) for row in grid(height, width, seed))).all()


def test_an_augmented_grid_is_turned_and_recoloured_as_numpy_would() -> None:
    plain = grid(2, 5, 3)
    augmentations = table()
    for identifier in range(2, 40):
        moved = augmentations.apply(tokens([plain], SIZE), torch.tensor([identifier])).view(SIZE, SIZE)
        height, width = (int(x) for x in extents(moved.flatten()[None], SIZE))
        colours = augmentations.colours_IV[identifier][torch.tensor(plain) + FIRST_COLOUR]
        images = [turned for k in range(4) for turned in (colours.rot90(k), colours.rot90(k).T)]
        assert any(image.tolist() == moved[:height, :width].tolist() for image in images)
    assert len(set(augmentations.transforms_I.tolist())) == 8


def test_what_lies_around_an_answer_does_not_count() -> None:
    messy = tokens([grid(3, 4)], SIZE)
    clean = messy.clone()
    messy.view(SIZE, SIZE)[4:, :] = FIRST_COLOUR + 5
    assert torch.equal(table().undo(messy, torch.tensor([1])), clean)
    nothing = torch.full((1, SIZE * SIZE), END)
    assert table().undo(nothing, torch.tensor([5])).max() <= END


# --- voting


def test_the_vote_goes_by_count_then_by_mean_halting_value() -> None:
    a, b, c = ([n] * 4 for n in (3, 2, 9))
    answers = torch.tensor([a, b, c, b, a])
    assert vote(answers, torch.tensor([0.1, 0.9, 1.0, 0.5, 0.2])).tolist() == [b, a, c]
    assert vote(answers, torch.tensor([0.9, 0.1, 1.0, 0.2, 0.8])).tolist() == [a, b, c]
    assert vote(torch.tensor([a, b, c]), torch.tensor([0.3, 0.2, 0.4])).tolist() == [c, a, b]


class Flawed(TRM):
    """Knows the answer of some identifiers, in their own augmentation; says its input's elsewhere."""

    def supervision_step(self, carry: Any, batch: Any) -> Any:
        carry, outputs = super().supervision_step(carry, batch)
        labels = self.answers.apply(batch.labels_BS.clamp_min(0), batch.puzzles_B)
        knows = self.knows(batch.puzzles_B)
        answers = torch.where(knows[:, None], labels, batch.inputs_BS)
        logits = torch.nn.functional.one_hot(answers, self.vocab_size).float()
        return carry, dataclasses.replace(outputs, logits_BSV=logits, halt_logit_B=knows.float())


@pytest.mark.parametrize(
    ("known", "first", "second"), [((0, 1, 2), 1, 1), ((1, 2), 0, 1), ((), 0, 0)], ids=["most", "some", "none"]
)
def test_augmented_copies_outvote_a_wrong_answer(
    tmp_path: Path, tiny: Callable[..., TrainConfig], known: tuple[int, ...], first: float, second: float
) -> None:
    task, _ = prepared(*files(tmp_path), augmentations=4)
    assert isinstance(task.rules, ArcRules)
    model = Flawed(tiny().model, 12, 36, store=ActivationStore(), generator=torch.Generator().manual_seed(0))
    model.answers = task.rules.augmentations  # type: ignore[assignment]
    model.knows = lambda ids: torch.isin((ids - 1) % 5, torch.tensor(known, dtype=torch.int64))  # type: ignore[assignment]
    scoring, done = voted_accuracy(model, task.test, task.rules.augmentations, 4, 1), []
    while True:
        try:
            done.append(next(scoring))
        except StopIteration as end:
            scores = end.value
            break
    assert done[-1] == len(task.test)
    assert scores == {1: first, 2: second}


# --- files


def files(folder: Path, tasks: int = 3, largest: int = 5) -> tuple[ArcTask, dict[str, Path]]:
    """Tasks whose outputs are their inputs with every colour raised by one."""

    def raised(x: Grid) -> Grid:
        return [[(colour + 1) % 10 for colour in row] for row in x]

    challenges, solutions = {}, {}
    for index in range(tasks):
        inputs = [grid(2 + index, largest - 1, 10 * index + part) for part in range(4)]
        pairs = [{"input": x, "output": raised(x)} for x in inputs]
        challenges[f"t{index}"] = {"train": pairs[:2], "test": [{"input": pair["input"]} for pair in pairs[2:]]}
        solutions[f"t{index}"] = [pair["output"] for pair in pairs[2:]]
    for name, content in (("c.json", challenges), ("s.json", solutions)):
        (folder / name).write_text(json.dumps(content))
    config = ArcTask(challenges="c", solutions="s", size=SIZE, augmentations=4)
    return config, {"c": folder / "c.json", "s": folder / "s.json"}


def prepared(config: ArcTask, paths: dict[str, Path], **changes: Any) -> tuple[PuzzleTask, list[Log]]:
    logs, steps = [], prepare(dataclasses.replace(config, **changes), paths)
    while True:
        try:
            logs.append(next(steps))
        except StopIteration as done:
            return done.value, logs


def test_examples_train_tests_measure_under_one_identifier_per_copy(tmp_path: Path) -> None:
    task, logs = prepared(*files(tmp_path))
    assert (len(task.train), len(task.test), task.vocab_size, task.seq_len) == (6, 6, 12, 36)
    assert task.puzzle_identifiers == 1 + 3 * 5
    assert task.train.puzzles_N is not None
    assert task.train.puzzles_N.tolist() == task.test.puzzles_N.tolist() == [1, 1, 6, 6, 11, 11]  # type: ignore[union-attr]
    assert [log.message for log in logs] == ["3 tasks in 5 copies: 16 puzzle identifiers"]
    assert not task.has_verifier
    with pytest.raises(TypeError, match="no rules"):
        task.valid(task.test.inputs_NS.long(), task.test.labels_NS.long())
    batch = task.sample(200, torch.Generator().manual_seed(0), CPU)
    assert set(batch.puzzles_B.tolist()) == set(range(1, 16))
    undone = task.rules.augmentations.undo(batch.inputs_BS, batch.puzzles_B)  # type: ignore[attr-defined]
    assert set(map(tuple, undone.tolist())) == set(map(tuple, task.train.inputs_NS.tolist()))
    assert ((batch.labels_BS == -100) | (batch.labels_BS > 0)).all()


def test_more_tasks_train_with_their_tests_but_never_those_to_solve(tmp_path: Path) -> None:
    config, paths = files(tmp_path)
    (tmp_path / "more").mkdir()
    _, more = files(tmp_path / "more", tasks=4)
    task, logs = prepared(config, paths | {"mc": more["c"], "ms": more["s"]}, more_challenges="mc", more_solutions="ms")
    assert (len(task.train), len(task.test)) == (6 + 4, 6)
    assert "3 of more_challenges are tasks to solve" in logs[0].message
    assert input_names(TrainConfig(task=ArcTask(challenges="c", more_challenges="m"))) == ("c", "m")


def test_large_tasks_are_left_out_and_shared_tests_told(tmp_path: Path) -> None:
    config, paths = files(tmp_path, tasks=5)
    task, logs = prepared(config, paths, size=5)
    assert len(task.test) == 8
    assert logs[0].message == "1 of 5 tasks of 'c' exceed 5×5: left out"
    challenges = json.loads(paths["c"].read_text())
    challenges["t0"]["test"] = [challenges["t0"]["train"][0]]
    paths["c"].write_text(json.dumps({"t0": challenges["t0"]}))
    _, logs = prepared(config, paths, solutions="")
    assert logs[0].message.startswith("1 of 1 tests: each equals one in training")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.clear(), "task.challenges: 'c': the challenges hold no task"),
        (lambda c: c["t1"].pop("train"), "task t1, train: expected a list of at least one pair"),
        (lambda c: c["t1"].update(test=[3]), "task t1, test: expected a list of at least one pair"),
        (lambda c: c["t1"]["train"][1].pop("output"), "task t1, example 2, output: expected 1 to 30"),
        (lambda c: c["t1"]["test"][0].update(input=[[1], [1, 2]]), "task t1, test 1, input: expected 1 to 30 equally"),
        (lambda c: c["t1"]["test"][0].update(input=[[1] * 31]), "task t1, test 1, input: expected 1 to 30"),
        (lambda c: c["t1"]["test"][0].update(input=[[10]]), "expected colours 0 to 9, got 10"),
        (lambda c: c["t1"]["test"][0].update(input=[[True]]), "expected colours 0 to 9, got True"),
        (lambda c: c["t1"]["test"].pop(), "task t1: expected 1 solutions, one per test, got 2"),
        (lambda c: c.update(new=c["t1"]), "task new: expected 2 solutions, one per test, got none"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path: Path, change: Callable[[Any], Any], message: str) -> None:
    config, paths = files(tmp_path)
    challenges = json.loads(paths["c"].read_text())
    change(challenges)
    paths["c"].write_text(json.dumps(challenges))
    with pytest.raises(ConfigError) as caught:
        prepared(config, paths)
    assert message in str(caught.value)


def test_what_else_is_wrong_names_its_field(tmp_path: Path) -> None:
    config, paths = files(tmp_path)
    cases = [
        ({"solutions": ""}, "task.solutions: the tests of task t0 in 'c' have no outputs"),
        ({"solutions": "no"}, "task.solutions: no file is known for the dataset 'no'"),
        ({"challenges": "no"}, "task.challenges: no file is known"),
        ({"size": 2}, "task.size: no task of 'c' fits; expected at least 4, got 2"),
    ]
    for change, message in cases:
        with pytest.raises(ConfigError) as caught:
            prepared(config, paths, **change)
        assert message in str(caught.value)
    for bad in (b"[", b"[]", b"[" * 100_000):
        with pytest.raises(ArcFileError):
            parse_tasks(bad)
    with pytest.raises(ConfigError, match="challenges: name the dataset"):
        ArcTask()


# --- training


def test_a_model_trains_with_its_puzzle_embedding_and_is_evaluated(
    tmp_path: Path, tiny: Callable[..., TrainConfig]
) -> None:
    config, paths = files(tmp_path)
    run = tiny(model={"puzzle_embedding": 16})
    run = dataclasses.replace(run, task=config)
    events = list(train(run, files=paths))
    snapshot = [event for event in events if isinstance(event, Snapshot)][-1]
    table = snapshot.model["raw.puzzle_table"]
    assert table.shape == (16, 16)
    assert (table[1:] != 0).any(1).sum() > 5
    assert isinstance(events[-1], Result)
    checkpoint = Checkpoint(snapshot.step, snapshot.model, snapshot.training, snapshot.state)
    result = list(evaluate(EvalConfig(checkpoint="x", supervision_steps=3, max_puzzles=5), checkpoint, files=paths))[-1]
    assert isinstance(result, Result)
    assert result.values["puzzles"] == 5
    with pytest.raises(ConfigError, match=r"task: has 151 puzzle identifiers, but the checkpoint's embedding knows 16"):
        list(
            evaluate(
                EvalConfig(checkpoint="x", task=dataclasses.replace(config, augmentations=49)), checkpoint, files=paths
            )
        )
