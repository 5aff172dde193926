"""Tasks: what is trained on never returns in the test, files are checked, batches repeat by seed."""

import dataclasses
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from laser_core.augment import symmetry_key
from laser_core.config import ConfigError, CsvTask, MazeTask, SudokuTask, Task
from laser_core.events import Log
from laser_core.sudoku import is_unique, solutions
from laser_core.tasks import Puzzles, PuzzleTask, prepare
from laser_core.tasks.sudoku import SudokuRules

CPU = torch.device("cpu")


def prepared(config: Task, files: dict[str, Path] | None = None) -> tuple[PuzzleTask, list[Log]]:
    logs, steps = [], prepare(config, files or {})
    while True:
        try:
            logs.append(next(steps))
        except StopIteration as done:
            return done.value, logs


def cells(puzzles: Puzzles) -> list[tuple[int, ...]]:
    return [tuple(row) for row in (puzzles.inputs_NS.int() - 1).tolist()]


def keys(puzzles: Puzzles, size: int) -> set[int]:
    return set(symmetry_key(puzzles.inputs_NS.numpy() - 1, size).tolist())


@settings(max_examples=6)
@given(st.sampled_from([4, 6]), st.integers(0, 2**31 - 1), st.integers(0, 12))
def test_no_test_puzzle_is_equivalent_to_one_in_training(size: Any, seed: int, max_blanks: int) -> None:
    blanks = max_blanks if max_blanks > 4 else 0
    config = SudokuTask(size=size, train_puzzles=30, test_puzzles=15, max_blanks=blanks, data_seed=seed)
    task, _ = prepared(config)
    assert (len(task.train), len(task.test)) == (30, 15)
    assert not keys(task.train, size) & keys(task.test, size)
    for puzzles in (task.train, task.test):
        for puzzle, answer in zip(cells(puzzles), (puzzles.labels_NS.int() - 1).tolist(), strict=True):
            assert 1 <= puzzle.count(0) <= (blanks or size * size)
            assert is_unique(puzzle, size)
            assert next(solutions(puzzle, size)) == tuple(answer)


def test_the_default_task_has_two_thousand_inequivalent_puzzles() -> None:
    task, logs = prepared(SudokuTask())
    assert (len(task.train), len(task.test), task.vocab_size, task.seq_len) == (1000, 1000, 6, 16)
    assert len(keys(task.train, 4) | keys(task.test, 4)) == 2000
    assert logs == []


def test_generation_depends_on_the_data_seed_alone() -> None:
    a, b, c = (prepared(SudokuTask(train_puzzles=20, test_puzzles=20, data_seed=seed))[0] for seed in (0, 0, 1))
    assert cells(a.train) == cells(b.train) != cells(c.train)
    assert cells(a.test) == cells(b.test)


def test_nine_by_nine_is_generated() -> None:
    task, _ = prepared(SudokuTask(size=9, train_puzzles=4, test_puzzles=2))
    assert (task.vocab_size, task.seq_len, len(task.train)) == (11, 81, 4)


def test_without_augmentation_puzzles_are_different_and_have_no_spare_clue() -> None:
    task, _ = prepared(SudokuTask(train_puzzles=300, test_puzzles=300, augment=False))
    assert len({*cells(task.train), *cells(task.test)}) == 600
    assert min(puzzle.count(0) for puzzle in cells(task.train)) >= 10


def test_too_many_puzzles_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"task.train_puzzles: found only \d+ puzzles that no symmetry") as caught:
        prepared(SudokuTask(train_puzzles=50, test_puzzles=50, max_blanks=2))
    assert "at most 2 blanks" in str(caught.value)


def test_batches_are_seeded_augmented_and_solvable() -> None:
    task, _ = prepared(SudokuTask(train_puzzles=10, test_puzzles=5))
    first, second = (task.sample(32, torch.Generator().manual_seed(1), CPU) for _ in range(2))
    assert torch.equal(first.inputs_BS, second.inputs_BS)
    assert first.inputs_BS.shape == first.labels_BS.shape == (32, 16)
    known = set(cells(task.train))
    assert any(tuple(row) not in known for row in (first.inputs_BS - 1).tolist())
    drawn = symmetry_key((first.inputs_BS - 1).numpy().astype(np.uint8), 4).tolist()
    assert set(drawn) <= keys(task.train, 4)


def test_without_augmentation_batches_hold_the_puzzles_themselves() -> None:
    task, _ = prepared(SudokuTask(train_puzzles=10, test_puzzles=5, augment=False))
    batch = task.sample(32, torch.Generator(), CPU)
    assert {tuple(row) for row in (batch.inputs_BS - 1).tolist()} <= set(cells(task.train))


# --- validity


def judged(task: PuzzleTask, change: Callable[[torch.Tensor], None] = lambda labels: None) -> torch.Tensor:
    labels = task.test.labels_NS.long()
    change(labels)
    return task.valid(task.test.inputs_NS.long(), labels)


@pytest.mark.parametrize(
    "config", [SudokuTask(size=4), SudokuTask(size=6), MazeTask(size=8), MazeTask(size=5)], ids=str
)
def test_solutions_are_valid_and_broken_ones_are_not(config: Any) -> None:
    task, _ = prepared(dataclasses.replace(config, train_puzzles=10, test_puzzles=20))
    assert task.has_verifier
    assert judged(task).tolist() == [True] * 20
    assert not task.valid(task.test.inputs_NS.long(), task.test.inputs_NS.long()).any()
    for cell in range(task.seq_len):

        def change(labels: torch.Tensor, cell: int = cell) -> None:
            labels[:, cell] = labels[:, cell] % (task.vocab_size - 1) + 1

        assert not judged(task, change).any()


def test_another_solution_is_valid_but_not_one_that_drops_a_clue() -> None:
    rules = SudokuRules(4)
    answer = torch.tensor([[1, 2, 3, 4, 3, 4, 1, 2, 2, 1, 4, 3, 4, 3, 2, 1]]) + 1
    other = torch.tensor([2, 1])[answer.clamp(2, 3) - 2].where(answer < 4, answer - 1) + 1
    nothing = torch.ones_like(answer)
    assert rules.valid(nothing, answer)
    assert rules.valid(nothing, other)
    assert not rules.valid(answer.where(torch.arange(16) == 0, nothing), other)


# --- mazes


def test_no_test_maze_is_a_turned_or_mirrored_one_in_training() -> None:
    task, logs = prepared(MazeTask(size=5, walls=0.5, train_puzzles=600, test_puzzles=600))
    assert (len(task.train), len(task.test), task.vocab_size, task.seq_len) == (600, 600, 6, 25)
    assert logs == []

    def images(puzzles: Puzzles) -> set[bytes]:
        grids = puzzles.inputs_NS.view(-1, 5, 5)
        turned = [grids.rot90(turn, (1, 2)) for turn in range(4)]
        return {grid.numpy().tobytes() for image in turned for side in (image, image.transpose(1, 2)) for grid in side}

    assert not images(task.train) & images(task.test)
    assert len(images(task.train[:0])) == 0


def test_mazes_depend_on_the_data_seed_and_keep_to_what_is_asked() -> None:
    config = MazeTask(size=8, train_puzzles=30, test_puzzles=20, min_path=14, unique=True)
    first, again, other = (prepared(dataclasses.replace(config, data_seed=seed))[0] for seed in (0, 0, 1))
    assert torch.equal(first.train.inputs_NS, again.train.inputs_NS)
    assert not torch.equal(first.train.inputs_NS, other.train.inputs_NS)
    assert ((first.test.labels_NS == 5).sum(1) + 1 >= 14).all()


def test_augmented_mazes_stay_solved() -> None:
    task, _ = prepared(MazeTask(size=8, train_puzzles=10, test_puzzles=5))
    batch = task.sample(64, torch.Generator().manual_seed(0), CPU)
    assert task.valid(batch.inputs_BS, batch.labels_BS).all()
    known = set(map(tuple, task.train.inputs_NS.tolist()))
    assert any(tuple(row) not in known for row in batch.inputs_BS.tolist())
    keys = task.rules.symmetry_keys(batch.inputs_BS.numpy().astype(np.uint8))
    assert set(keys) <= set(task.rules.symmetry_keys(task.train.inputs_NS.numpy()))


def test_mazes_that_cannot_be_found_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"task.train_puzzles: found only 0 mazes of 5×5 with 38% walls, at least 24 steps"
    ):
        prepared(MazeTask(size=5, min_path=24))


def test_padding_is_not_scored() -> None:
    puzzles = Puzzles(torch.tensor([[2, 0]], dtype=torch.uint8), torch.tensor([[3, 0]], dtype=torch.uint8))
    batch = puzzles.batch(slice(None), CPU)
    assert batch.labels_BS.tolist() == [[3, -100]]
    assert batch.inputs_BS.tolist() == [[2, 0]]
    assert batch.puzzles_B.tolist() == [0]


# --- files


def write_csv(path: Path, puzzles: Puzzles, part: slice = slice(None)) -> Path:
    rows = [
        f"test,{''.join(map(str, q))},{''.join(map(str, a))},1\n"
        for q, a in zip(cells(puzzles)[part], (puzzles.labels_NS.int() - 1).tolist()[part], strict=True)
    ]
    path.write_text("source,q,a,rating\n" + "".join(rows))
    return path


@pytest.fixture(scope="module")
def generated() -> PuzzleTask:
    return prepared(SudokuTask(train_puzzles=40, test_puzzles=40))[0]


def test_files_give_the_puzzles_they_hold(tmp_path: Path, generated: PuzzleTask) -> None:
    files = {"a": write_csv(tmp_path / "a.csv", generated.train), "b": write_csv(tmp_path / "b.csv", generated.test)}
    task, logs = prepared(CsvTask(train="a", test="b"), files)
    assert torch.equal(task.train.inputs_NS, generated.train.inputs_NS)
    assert torch.equal(task.test.labels_NS, generated.test.labels_NS)
    assert logs == []


def test_a_tenth_is_held_back_without_a_test_file(tmp_path: Path, generated: PuzzleTask) -> None:
    files = {"a": write_csv(tmp_path / "a.csv", generated.train)}
    task, logs = prepared(CsvTask(train="a"), files)
    assert (len(task.train), len(task.test)) == (36, 4)
    assert not keys(task.train, 4) & keys(task.test, 4)
    assert logs == [Log("4 of 40 puzzles are held back to test on")]


def test_a_test_file_alone_leaves_training_empty(tmp_path: Path, generated: PuzzleTask) -> None:
    task, _ = prepared(CsvTask(test="a"), {"a": write_csv(tmp_path / "a.csv", generated.test)})
    assert (len(task.train), len(task.test)) == (0, 40)


@pytest.mark.parametrize("augment", [True, False])
def test_shared_puzzles_are_counted_not_dropped(tmp_path: Path, generated: PuzzleTask, augment: bool) -> None:
    files = {
        "a": write_csv(tmp_path / "a.csv", generated.train),
        "b": write_csv(tmp_path / "b.csv", generated.train, slice(5)),
    }
    task, logs = prepared(CsvTask(train="a", test="b", augment=augment), files)
    assert len(task.test) == 5
    assert [log.level for log in logs] == ["warning"]
    assert logs[0].message.startswith("5 of 5 test puzzles")


def test_what_is_wrong_with_a_file_names_the_task_field(tmp_path: Path, generated: PuzzleTask) -> None:
    good = write_csv(tmp_path / "good.csv", generated.train)
    bad = tmp_path / "bad.csv"
    bad.write_text("source,q,a,rating\nx,12,1,1\n")
    one = write_csv(tmp_path / "one.csv", generated.train, slice(1))
    other = tmp_path / "other.csv"
    other.write_text("source,q,a,rating\nx," + "1" + "." * 35 + ",123456456123214365365214531642642531,1\n")
    cases = [
        (CsvTask(train="no"), "task.train: no file is known for the dataset 'no'"),
        (CsvTask(train="gone"), "task.train: can't read 'gone': No such file"),
        (CsvTask(train="good", test="bad"), "task.test: 'bad', line 2, q: expected 81"),
        (CsvTask(train="one"), "task.train: expected at least 2 puzzles"),
        (CsvTask(train="good", test="other"), "task.test: holds 6×6 puzzles, task.train 4×4"),
    ]
    files = {"good": good, "bad": bad, "one": one, "other": other, "gone": tmp_path / "gone"}
    for config, message in cases:
        with pytest.raises(ConfigError) as caught:
            prepared(config, files)
        assert message in str(caught.value)


def test_maze_files_give_the_mazes_they_hold(tmp_path: Path) -> None:
    mazes, _ = prepared(MazeTask(size=6, train_puzzles=20, test_puzzles=10))
    files = {}
    for name, puzzles in (("a", mazes.train), ("b", mazes.test)):
        pairs = zip(puzzles.inputs_NS.tolist(), puzzles.labels_NS.tolist(), strict=True)
        rows = [",".join(["x", *("".join("?# SGo"[token] for token in row) for row in pair), "1"]) for pair in pairs]
        files[name] = tmp_path / name
        files[name].write_text("source,q,a,rating\n" + "\n".join(rows) + "\n")
    task, logs = prepared(CsvTask(train="a", test="b"), files)
    assert (task.size, task.vocab_size, logs) == (6, 6, [])
    assert torch.equal(task.train.inputs_NS, mazes.train.inputs_NS)
    assert torch.equal(task.test.labels_NS, mazes.test.labels_NS)
    sudoku = write_csv(tmp_path / "c", prepared(SudokuTask(size=6, train_puzzles=2, test_puzzles=2))[0].train)
    with pytest.raises(
        ConfigError, match=r"task.test: holds 6×6 puzzles, task.train 6×6 mazes; expected the same kind"
    ):
        prepared(CsvTask(train="a", test="c"), files | {"c": sudoku})


def test_prepare_is_a_generator() -> None:
    assert isinstance(prepare(SudokuTask(), {}), Generator)
