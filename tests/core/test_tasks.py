"""Tasks: what is trained on never returns in the test, files are checked, batches repeat by seed."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from laser_core.augment import symmetry_key
from laser_core.config import ConfigError, CsvTask, SudokuTask
from laser_core.events import Log
from laser_core.sudoku import is_unique, solutions
from laser_core.tasks import Puzzles, PuzzleTask, prepare

CPU = torch.device("cpu")


def prepared(config: SudokuTask | CsvTask, files: dict[str, Path] | None = None) -> tuple[PuzzleTask, list[Log]]:
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


def test_prepare_is_a_generator() -> None:
    assert isinstance(prepare(SudokuTask(), {}), Generator)
