"""Puzzles ready for training: generated or read from files, split without a puzzle in common, served in batches.

"In common" is counted up to the augmentation in use: with it, puzzles that a symmetry turns into each other are the same.
Tokens are the official TRM data's: 0 padding (never used), 1 a blank, 2 and up the digits; every cell is labelled.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laser_core.augment import FIRST_DIGIT, augment, symmetry_key
from laser_core.config import ConfigError, CsvTask, Problem, SudokuTask
from laser_core.events import Log
from laser_core.model import Batch
from laser_core.puzzle_file import PuzzleFileError, parse_csv
from laser_core.sudoku import Cells, blanked, random_solution, removable

Grids = NDArray[np.uint8]  # (N, S): 0 for a blank, else the digit
Sequential = Generator[Log, None, "PuzzleTask"]

_GENERATED_AT_ONCE = 250


@dataclass(frozen=True)
class Puzzles:
    """N puzzles of S cells as tokens (uint8 on the CPU): the questions and their solutions."""

    inputs_NS: Tensor
    labels_NS: Tensor

    def __len__(self) -> int:
        return len(self.inputs_NS)

    def batch(self, indices: Tensor | slice, device: torch.device) -> Batch:
        """The named puzzles, as they are."""
        return _batch(self.inputs_NS[indices].long(), self.labels_NS[indices].long(), device)


@dataclass(frozen=True)
class PuzzleTask:
    """What a model trains on and is measured on. ``train`` may be empty where only evaluation is wanted."""

    size: int
    train: Puzzles
    test: Puzzles
    augmented: bool

    @property
    def vocab_size(self) -> int:
        return self.size + FIRST_DIGIT

    @property
    def seq_len(self) -> int:
        return self.size * self.size

    def sample(self, batch_size: int, generator: torch.Generator, device: torch.device) -> Batch:
        """A training batch drawn with replacement and augmented, all from ``generator`` (on the CPU).

        Drawing without replacement would promise nothing: rows that haven't halted drop their new puzzle anyway.
        """
        drawn = torch.randint(len(self.train), (batch_size,), generator=generator)
        inputs_BS, labels_BS = self.train.inputs_NS[drawn].long(), self.train.labels_NS[drawn].long()
        if self.augmented:
            inputs_BS, labels_BS = augment(inputs_BS, labels_BS, self.size, generator)
        return _batch(inputs_BS, labels_BS, device)


def prepare(config: SudokuTask | CsvTask, files: Mapping[str, Path]) -> Sequential:
    """Makes or reads the puzzles, saying on the way what people should know; the generator's value is the PuzzleTask.

    ``files`` has a path for each dataset that ``config`` names. Raises ConfigError naming the task's field at fault.
    """
    return _generated(config) if isinstance(config, SudokuTask) else _from_files(config, files)


# --- generated ---------------------------------------------------------------------------------------------------------


def _generated(config: SudokuTask) -> Sequential:
    rng = random.Random(f"sudoku {config.size} {config.max_blanks} {config.data_seed}")
    wanted = config.train_puzzles + config.test_puzzles
    pairs: dict[int, tuple[Cells, Cells]] = {}
    while len(pairs) < wanted:
        before = len(pairs)
        _add_puzzles(pairs, min(_GENERATED_AT_ONCE, wanted - before), config, rng)
        if len(pairs) == before:
            raise ConfigError(Problem("task.train_puzzles", _exhausted(config, before)))
        if config.size == 9 and len(pairs) < wanted:
            yield Log(f"generated {len(pairs)} of {wanted} puzzles")
    shuffled = list(pairs.values())
    rng.shuffle(shuffled)
    questions, answers = (np.array(grids, np.uint8) for grids in zip(*shuffled, strict=True))
    test, train = slice(config.test_puzzles), slice(config.test_puzzles, None)
    return PuzzleTask(
        config.size,
        _tokens(questions[train], answers[train]),
        _tokens(questions[test], answers[test]),
        config.augment,
    )


def _add_puzzles(pairs: dict[int, tuple[Cells, Cells]], count: int, config: SudokuTask, rng: random.Random) -> None:
    """Adds at most ``count`` puzzles under keys that aren't there yet.

    Each starts with as few clues as uniqueness allows; where its key is taken, clues come back one by one until it is new
    (4×4 has only some 40 classes of puzzles without a spare clue).
    """
    solutions = [random_solution(config.size, rng) for _ in range(count)]
    most = config.max_blanks or config.size * config.size
    drafts = [(solution, removable(solution, config.size, most, rng)) for solution in solutions]
    while drafts:
        puzzles = [blanked(solution, removed) for solution, removed in drafts]
        keys = _keys(np.array(puzzles, np.uint8), config.size, config.augment)
        taken = []
        for puzzle, draft, key in zip(puzzles, drafts, keys, strict=True):
            if key in pairs:
                taken.append(draft)
            else:
                pairs[key] = (puzzle, draft[0])
        drafts = [(solution, removed[:-1]) for solution, removed in taken if len(removed) > 1]


def _exhausted(config: SudokuTask, found: int) -> str:
    kind = "puzzles that no symmetry turns into each other" if config.augment else "different puzzles"
    limit = f" with at most {config.max_blanks} blanks" if config.max_blanks else ""
    wanted = f"{config.train_puzzles} train_puzzles + {config.test_puzzles} test_puzzles"
    return (
        f"found only {found} {kind}{limit} of {config.size}×{config.size}, fewer than {wanted}; ask for fewer of them"
    )


# --- from files --------------------------------------------------------------------------------------------------------


def _from_files(config: CsvTask, files: Mapping[str, Path]) -> Sequential:
    read = {split: _read(split, getattr(config, split), files) for split in ("train", "test") if getattr(config, split)}
    size = next(iter(read.values()))[0]
    if "train" not in read:
        nothing = np.empty((0, size * size), np.uint8)
        return PuzzleTask(size, _tokens(nothing, nothing), _tokens(*read["test"][1:]), config.augment)
    _, questions, answers = read["train"]
    keys = _keys(questions, size, config.augment)
    if "test" not in read:
        is_test = _held_back(keys)
        yield Log(f"{is_test.sum()} of {len(keys)} puzzles are held back to test on")
        train, test = (_tokens(questions[part], answers[part]) for part in (~is_test, is_test))
        return PuzzleTask(size, train, test, config.augment)
    test_size, test_questions, test_answers = read["test"]
    if test_size != size:
        message = f"holds {test_size}×{test_size} puzzles, task.train {size}×{size}; expected the same size"
        raise ConfigError(Problem("task.test", message))
    known = set(keys)
    shared = sum(key in known for key in _keys(test_questions, size, config.augment))
    if shared:
        same = "equals one in training" + (" up to the augmentation in use" if config.augment else "")
        yield Log(f"{shared} of {len(test_questions)} test puzzles: each {same}; the accuracy flatters", "warning")
    return PuzzleTask(size, _tokens(questions, answers), _tokens(test_questions, test_answers), config.augment)


def _read(split: str, name: str, files: Mapping[str, Path]) -> tuple[int, Grids, Grids]:
    field = f"task.{split}"
    if name not in files:
        raise ConfigError(Problem(field, f"no file is known for the dataset {name!r}"))
    try:
        with files[name].open("rb") as stream:
            size, rows = parse_csv(stream)
    except OSError as error:
        raise ConfigError(Problem(field, f"can't read {name!r}: {error.strerror}")) from error
    except PuzzleFileError as error:
        raise ConfigError(Problem(field, f"{name!r}, {error}")) from error
    return size, _grids([row.question for row in rows]), _grids([row.answer for row in rows])


def _grids(texts: Sequence[str]) -> Grids:
    codes = np.frombuffer("".join(texts).replace(".", "0").encode(), np.uint8)
    return (codes - ord("0")).reshape(len(texts), -1)


def _held_back(keys: list[int]) -> NDArray[np.bool_]:
    """Marks a tenth of the puzzles, and at least one; equivalent ones stay together. Raises ConfigError for too few."""
    groups: dict[int, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    if len(groups) < 2:
        message = "expected at least 2 puzzles that aren't equivalent, to hold one back; or name a dataset in test"
        raise ConfigError(Problem("task.train", message))
    chosen = np.zeros(len(keys), np.bool_)
    for key in sorted(groups)[:-1]:  # keys are hashes, so their order is as good as random
        chosen[groups[key]] = True
        if chosen.sum() * 10 >= len(keys):
            break
    return chosen


# --- both --------------------------------------------------------------------------------------------------------------


def _keys(questions: Grids, size: int, augmented: bool) -> list[int]:
    """What makes puzzles the same: their symmetry class with augmentation, their cells without."""
    if augmented:
        keys: list[int] = symmetry_key(questions, size).tolist()
        return keys
    return [int.from_bytes(hashlib.sha256(grid.tobytes()).digest()[:8]) for grid in questions]


def _tokens(questions: Grids, answers: Grids) -> Puzzles:
    return Puzzles(torch.from_numpy(questions + 1), torch.from_numpy(answers + 1))


def _batch(inputs_BS: Tensor, labels_BS: Tensor, device: torch.device) -> Batch:
    puzzles_B = torch.zeros(len(inputs_BS), dtype=torch.int64)
    return Batch(*(x.to(device, non_blocking=True) for x in (inputs_BS, labels_BS, puzzles_B)))
