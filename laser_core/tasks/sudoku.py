"""Sudoku as a task. Tokens: 0 padding (never used), 1 a blank, 2 and up the digits; every cell is labelled."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from laser_core.augment import BLANK, FIRST_DIGIT, augment, symmetry_key
from laser_core.config import ConfigError, Problem, SudokuTask
from laser_core.events import Log
from laser_core.sudoku import Cells, blanked, random_solution, removable, units
from laser_core.tasks.base import Drawn, Preparing, Puzzles, PuzzleTask, Rules, Tokens

_GENERATED_AT_ONCE = 250


@dataclass(frozen=True)
class SudokuRules(Rules):
    """Sudoku of ``size`` × ``size``."""

    size: int
    kind = "sudoku"
    characters = "?.123456789"

    @property
    def vocab_size(self) -> int:  # type: ignore[override]
        return self.size + FIRST_DIGIT

    def augment(self, drawn: Drawn, generator: torch.Generator) -> Drawn:
        """Permutes digits, bands, stacks, rows and columns, and transposes."""
        return Drawn(*augment(drawn.inputs_BS, drawn.labels_BS, self.size, generator), drawn.puzzles_B)

    def symmetry_keys(self, inputs_NS: Tokens) -> list[int]:
        keys: list[int] = symmetry_key(inputs_NS - BLANK, self.size).tolist()
        return keys

    def valid(self, inputs_BS: Tensor, predictions_BS: Tensor) -> Tensor:
        """Every clue is kept, and every row, column and box holds each digit once."""
        kept_B = ((inputs_BS == BLANK) | (inputs_BS == predictions_BS)).all(-1)
        digits = torch.arange(FIRST_DIGIT, self.vocab_size)
        in_units_BUD = predictions_BS[:, torch.tensor(units(self.size))].sort(-1).values
        return kept_B & (in_units_BUD == digits).all(-1).all(-1)

    def violations(self, question_S: Tensor, answer_S: Tensor) -> list[int]:
        """Clues that were changed, cells left blank, and digits that their row, column or box holds twice."""
        question, answer = question_S.tolist(), answer_S.tolist()
        pairs = enumerate(zip(question, answer, strict=True))
        broken = {cell for cell, (clue, digit) in pairs if digit < FIRST_DIGIT or clue not in (BLANK, digit)}
        for unit in units(self.size):
            counts = Counter(answer[cell] for cell in unit)
            broken |= {cell for cell in unit if counts[answer[cell]] > 1}
        return sorted(broken)


def generated(config: SudokuTask) -> Preparing:
    """Puzzles with unique solutions."""
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
    questions, answers = (torch.from_numpy(_tokens(grids)) for grids in zip(*shuffled, strict=True))
    puzzles = Puzzles(questions, answers)
    test, train = puzzles[: config.test_puzzles], puzzles[config.test_puzzles :]
    return PuzzleTask(SudokuRules(config.size), train, test, config.augment)


def _tokens(grids: Sequence[Cells]) -> Tokens:
    return np.array(grids, np.uint8) + BLANK


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
        keys = SudokuRules(config.size).keys(_tokens(puzzles), config.augment)
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
