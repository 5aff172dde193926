"""Sudoku or mazes from files in the community's CSV format (laser_core.puzzle_file)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from laser_core.augment import BLANK
from laser_core.config import ConfigError, CsvTask, Problem
from laser_core.events import Log
from laser_core.maze import SYMBOLS, WALL
from laser_core.puzzle_file import PuzzleFileError, is_maze, parse_csv
from laser_core.tasks.base import Preparing, Puzzles, PuzzleTask, Rules
from laser_core.tasks.mazes import MazeRules
from laser_core.tasks.sudoku import SudokuRules

_TOKENS = {character: token for token, character in enumerate(".123456789", BLANK)}
_TOKENS |= {character: token for token, character in enumerate(SYMBOLS, WALL)}


def read(config: CsvTask, paths: Mapping[str, Path]) -> Preparing:
    """The files' puzzles; without a test file a tenth of the training file is held back."""
    named = {"train": config.train, "test": config.test}
    read = {split: _read(f"task.{split}", name, paths) for split, name in named.items() if name}
    rules, first = next(iter(read.values()))
    if "train" not in read:
        return PuzzleTask(rules, first[:0], first, config.augment)
    keys = rules.keys(first.inputs_NS.numpy(), config.augment)
    if "test" not in read:
        is_test = _held_back(keys)
        yield Log(f"{is_test.sum()} of {len(keys)} puzzles are held back to test on")
        return PuzzleTask(rules, first[torch.from_numpy(~is_test)], first[torch.from_numpy(is_test)], config.augment)
    test_rules, test = read["test"]
    if test_rules != rules:
        message = f"holds {_kind(test_rules)}, task.train {_kind(rules)}; expected the same kind and size"
        raise ConfigError(Problem("task.test", message))
    known = set(keys)
    shared = sum(key in known for key in rules.keys(test.inputs_NS.numpy(), config.augment))
    if shared:
        same = "equals one in training" + (" up to the augmentation in use" if config.augment else "")
        yield Log(f"{shared} of {len(test)} test puzzles: each {same}; the accuracy flatters", "warning")
    return PuzzleTask(rules, first, test, config.augment)


def _read(field: str, name: str, paths: Mapping[str, Path]) -> tuple[Rules, Puzzles]:
    if name not in paths:
        raise ConfigError(Problem(field, f"no file is known for the dataset {name!r}"))
    try:
        with paths[name].open("rb") as stream:
            size, rows = parse_csv(stream)
    except OSError as error:
        raise ConfigError(Problem(field, f"can't read {name!r}: {error.strerror}")) from error
    except PuzzleFileError as error:
        raise ConfigError(Problem(field, f"{name!r}, {error}")) from error
    rules = MazeRules(size) if is_maze(rows[0].question) else SudokuRules(size)
    columns = ([row.question for row in rows], [row.answer for row in rows])
    return rules, Puzzles(*(torch.from_numpy(tokens(texts)) for texts in columns))


def tokens(texts: list[str]) -> NDArray[np.uint8]:
    """Puzzles or solutions of one size as tokens (N, S)."""
    table = np.zeros(256, np.uint8)
    for character, token in _TOKENS.items():
        table[ord(character)] = token
    return table[np.frombuffer("".join(texts).encode(), np.uint8)].reshape(len(texts), -1)


def _kind(rules: Rules) -> str:
    return f"{rules.size}×{rules.size} {'mazes' if isinstance(rules, MazeRules) else 'puzzles'}"


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
