"""Mazes as a task. Tokens: 0 padding (never used), then ``#``, blank, ``S``, ``G``, ``o``; every cell is labelled."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from laser_core import maze
from laser_core.augment import DIHEDRAL, dihedral_cells, dihedral_key
from laser_core.config import ConfigError, MazeTask, Problem
from laser_core.events import Log
from laser_core.tasks.base import Drawn, Preparing, Puzzles, PuzzleTask, Rules, Tokens

_DRAWN_AT_ONCE = 512
_PATIENCE = 10  # draws in a row without a new maze, before giving up
_TOLD_EVERY = 10  # draws


@dataclass(frozen=True)
class MazeRules(Rules):
    """Mazes of ``size`` × ``size``, to be solved by a shortest path."""

    size: int
    kind = "maze"
    characters = "?" + maze.SYMBOLS
    vocab_size = maze.VOCAB_SIZE

    def augment(self, drawn: Drawn, generator: torch.Generator) -> Drawn:
        """Turns and mirrors."""
        transform_B = torch.randint(DIHEDRAL, (len(drawn.inputs_BS),), generator=generator)
        cells_BS = dihedral_cells(transform_B, self.size, self.size, self.size)
        return Drawn(drawn.inputs_BS.gather(1, cells_BS), drawn.labels_BS.gather(1, cells_BS), drawn.puzzles_B)

    def symmetry_keys(self, inputs_NS: Tokens) -> list[int]:
        keys: list[int] = dihedral_key(inputs_NS, self.size).tolist()
        return keys

    def valid(self, inputs_BS: Tensor, predictions_BS: Tensor) -> Tensor:
        """The marked cells are a shortest path from start to goal; everything else is unchanged."""
        return torch.from_numpy(maze.solves(inputs_BS.numpy(), predictions_BS.numpy()))

    def violations(self, question_S: Tensor, answer_S: Tensor) -> list[int]:
        """Cells that were changed into anything but path, or path through anything but open cells."""
        is_path_S = (question_S == maze.OPEN) & (answer_S == maze.PATH)
        broken: list[int] = ((answer_S != question_S) & ~is_path_S).nonzero().flatten().tolist()
        return broken


def generated(config: MazeTask) -> Preparing:
    """Mazes of at least ``min_path`` (and two) steps, each new under the augmentation in use."""
    purpose = f"maze {config.size} {config.walls} {config.min_path} {config.unique} {config.data_seed}"
    seed = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8]) >> 1
    generator, rules = torch.Generator().manual_seed(seed), MazeRules(config.size)
    wanted = config.train_puzzles + config.test_puzzles
    found: dict[int, tuple[Tensor, Tensor]] = {}
    draws = draws_in_vain = 0
    while len(found) < wanted:
        before, draws = len(found), draws + 1
        drawn = maze.draw(_DRAWN_AT_ONCE, config.size, config.walls, generator)
        keep = drawn.steps_M >= max(config.min_path, 2)
        if config.unique:
            keep &= drawn.is_unique_M
        questions, answers = drawn.questions_MS[keep], drawn.answers_MS[keep]
        for key, *pair in zip(rules.keys(questions, config.augment), questions, answers, strict=True):
            found.setdefault(key, (torch.from_numpy(pair[0]), torch.from_numpy(pair[1])))
        draws_in_vain = 0 if len(found) > before else draws_in_vain + 1
        if draws_in_vain == _PATIENCE:
            raise ConfigError(Problem("task.train_puzzles", _exhausted(config, len(found))))
        if draws % _TOLD_EVERY == 0 and len(found) < wanted:
            yield Log(f"generated {len(found)} of {wanted} mazes")
    chosen = list(found.values())[:wanted]
    puzzles = Puzzles(*(torch.stack(tensors) for tensors in zip(*chosen, strict=True)))
    test, train = puzzles[: config.test_puzzles], puzzles[config.test_puzzles :]
    return PuzzleTask(rules, train, test, config.augment)


def _exhausted(config: MazeTask, found: int) -> str:
    kind = " with a single shortest path" if config.unique else ""
    return (
        f"found only {found} mazes of {config.size}×{config.size} with {config.walls:.0%} walls, at least "
        f"{max(config.min_path, 2)} steps{kind}, fewer than {config.train_puzzles} train_puzzles + "
        f"{config.test_puzzles} test_puzzles; ask for fewer, a lower min_path or other walls"
    )
