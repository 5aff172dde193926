"""ARC-AGI as a task: examples to train on, tests to be measured on, an identifier per task and augmentation.

Tokens: 0 padding, 1 the end of a grid, 2 to 11 the colours; padding isn't scored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from laser_core import arc
from laser_core.arc import Augmentations
from laser_core.arc_file import ArcFileError, Pair, Task, parse_tasks
from laser_core.config import ArcTask, ConfigError, Problem
from laser_core.events import Log
from laser_core.tasks.base import Drawn, Preparing, Puzzles, PuzzleTask, Rules, Tokens, cell_keys


@dataclass(frozen=True, eq=False)
class ArcRules(Rules):
    """Grids of ARC in a square of ``size``. Nobody can judge an answer without the solution."""

    size: int
    augmentations: Augmentations
    kind = "arc"
    characters = " |0123456789"
    vocab_size = arc.VOCAB_SIZE
    has_verifier = False

    @property
    def puzzle_identifiers(self) -> int:  # type: ignore[override]
        return len(self.augmentations.transforms_I)

    def augment(self, drawn: Drawn, generator: torch.Generator) -> Drawn:
        """Takes one of the copies that the puzzle's task has, and its identifier."""
        copies = self.augmentations.copies
        ids_B = drawn.puzzles_B + torch.randint(copies, drawn.puzzles_B.shape, generator=generator)
        inputs_BS, labels_BS = (self.augmentations.apply(x, ids_B) for x in (drawn.inputs_BS, drawn.labels_BS))
        return Drawn(inputs_BS, labels_BS, ids_B)

    def symmetry_keys(self, inputs_NS: Tokens) -> list[int]:
        """By cells alone: a turned grid is another question, since the rule turns with it."""
        return cell_keys(inputs_NS)

    def valid(self, inputs_BS: Tensor, predictions_BS: Tensor) -> Tensor:
        raise TypeError("ARC has no rules to judge an answer by; compare it with the solution")


def read(config: ArcTask, paths: Mapping[str, Path]) -> Preparing:
    """The files' tasks: all examples to train on, the tests of ``challenges`` to be measured on."""
    tasks = yield from _tasks("challenges", config.challenges, config.solutions, config.size, paths)
    more: list[Task] = []
    if config.more_challenges:
        names = {task.name for task in tasks}
        further = yield from _tasks(
            "more_challenges", config.more_challenges, config.more_solutions, config.size, paths
        )
        more = [task for task in further if task.name not in names]
        if len(more) < len(further):
            yield Log(f"{len(further) - len(more)} of more_challenges are tasks to solve, and left out", "warning")
    seed = int.from_bytes(hashlib.sha256(f"arc {config.data_seed}".encode()).digest()[:8]) >> 1
    generator = torch.Generator().manual_seed(seed)
    table = Augmentations.draw(len(tasks) + len(more), config.augmentations, config.size, generator)
    everyone = [*tasks, *more]
    shown = [task.examples for task in tasks] + [task.examples + task.tests for task in more]
    train, test = _puzzles(shown, table), _puzzles([task.tests for task in tasks], table)
    yield from _told_apart(train, test)
    yield Log(f"{len(everyone)} tasks in {table.copies} copies: {len(table.transforms_I)} puzzle identifiers")
    return PuzzleTask(ArcRules(config.size, table), train, test, augmented=config.augmentations > 0)


def _puzzles(pairs: Iterable[list[Pair]], table: Augmentations) -> Puzzles:
    """One puzzle per pair, identified as its task without augmentation."""
    rows = [(1 + index * table.copies, pair) for index, some in enumerate(pairs) for pair in some]
    inputs_NS = arc.tokens([pair.input for _, pair in rows], table.size)
    labels_NS = arc.tokens([pair.output or [[0]] for _, pair in rows], table.size)
    identifiers_N = torch.tensor([identifier for identifier, _ in rows])
    return Puzzles(inputs_NS.to(torch.uint8), labels_NS.to(torch.uint8), identifiers_N)


def _told_apart(train: Puzzles, test: Puzzles) -> Iterable[Log]:
    """A warning where a test is also an example."""
    known, asked = (cell_keys(torch.cat([x.inputs_NS, x.labels_NS], 1).numpy()) for x in (train, test))
    seen = set(known)
    shared = sum(key in seen for key in asked)
    if shared:
        yield Log(f"{shared} of {len(test)} tests: each equals one in training; the accuracy flatters", "warning")


def _tasks(
    field: str, challenges: str, solutions: str, size: int, paths: Mapping[str, Path]
) -> Generator[Log, None, list[Task]]:
    """The tasks of a pair of files whose grids fit into ``size``."""
    contents = []
    for name, where in ((challenges, field), (solutions, field.replace("challenges", "solutions"))):
        contents.append(_content(f"task.{where}", name, paths) if name else None)
    try:
        found = parse_tasks(contents[0] or b"", contents[1])
    except ArcFileError as error:
        raise ConfigError(Problem(f"task.{field}", f"{challenges!r}: {error}")) from error
    if unsolved := next((task for task in found if any(pair.output is None for pair in task.tests)), None):
        message = f"the tests of task {unsolved.name} in {challenges!r} have no outputs; name the file that has them"
        raise ConfigError(Problem(f"task.{field.replace('challenges', 'solutions')}", message))
    fitting = [task for task in found if task.size <= size]
    if not fitting:
        least = min(task.size for task in found)
        raise ConfigError(
            Problem("task.size", f"no task of {challenges!r} fits; expected at least {least}, got {size}")
        )
    if len(fitting) < len(found):
        yield Log(f"{len(found) - len(fitting)} of {len(found)} tasks of {challenges!r} exceed {size}×{size}: left out")
    return fitting


def _content(field: str, name: str, paths: Mapping[str, Path]) -> bytes:
    if name not in paths:
        raise ConfigError(Problem(field, f"no file is known for the dataset {name!r}"))
    try:
        return paths[name].read_bytes()
    except OSError as error:
        raise ConfigError(Problem(field, f"can't read {name!r}: {error.strerror}")) from error
