"""ARC-AGI's JSON files: challenges, and the solutions of their tests. Never loads torch or numpy.

Challenges are ``{task: {"train": [{"input": grid, "output": grid}, …], "test": [{"input": grid}, …]}}``, solutions
``{task: [grid, …]}`` with one per test; a test may hold its ``output`` itself. A grid is a list of 1 to 30 equally long
rows of 1 to 30 colours, 0 to 9.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

MAX_SIZE = 30
COLOURS = range(10)

Grid = list[list[int]]


class ArcFileError(ValueError):
    """What is wrong with a file, and where."""


class Pair(NamedTuple):
    """An input and its output; None where nobody says it."""

    input: Grid
    output: Grid | None

    @property
    def size(self) -> int:
        """The largest side of its grids."""
        return max(max(len(grid), len(grid[0])) for grid in self if grid)


class Task(NamedTuple):
    """Examples of a rule, and tests of it."""

    name: str
    examples: list[Pair]
    tests: list[Pair]

    @property
    def size(self) -> int:
        """The largest side of its grids."""
        return max(pair.size for pair in (*self.examples, *self.tests))


def parse_tasks(challenges: bytes, solutions: bytes | None = None) -> list[Task]:
    """All tasks, checked wholly, in the file's order. Raises ArcFileError for the first thing wrong."""
    tasks = [_task(name, value) for name, value in _object(challenges, "challenges").items()]
    if not tasks:
        raise ArcFileError("the challenges hold no task")
    if solutions is None:
        return tasks
    outputs = _object(solutions, "solutions")
    return [task._replace(tests=_solved(task, outputs.get(task.name))) for task in tasks]


def _object(content: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArcFileError(f"the {what} aren't JSON: {error}") from None
    if not isinstance(value, dict):
        raise ArcFileError(f"the {what} are no object of tasks")
    return value


def _task(name: str, value: Any) -> Task:
    parts = [value.get(part) if isinstance(value, dict) else None for part in ("train", "test")]
    for part, pairs in zip(("train", "test"), parts, strict=True):
        if not isinstance(pairs, list) or not pairs or not all(isinstance(pair, dict) for pair in pairs):
            raise ArcFileError(f"task {name}, {part}: expected a list of at least one pair")
    return Task(
        name,
        [_pair(f"task {name}, example {i}", pair, needs_output=True) for i, pair in enumerate(parts[0] or [], 1)],
        [_pair(f"task {name}, test {i}", pair, needs_output=False) for i, pair in enumerate(parts[1] or [], 1)],
    )


def _pair(where: str, pair: dict[str, Any], needs_output: bool) -> Pair:
    output = pair.get("output")
    if output is not None or needs_output:
        output = _grid(f"{where}, output", output)
    return Pair(_grid(f"{where}, input", pair.get("input")), output)


def _solved(task: Task, outputs: Any) -> list[Pair]:
    if not isinstance(outputs, list) or len(outputs) != len(task.tests):
        got = len(outputs) if isinstance(outputs, list) else "none"
        raise ArcFileError(f"task {task.name}: expected {len(task.tests)} solutions, one per test, got {got}")
    return [
        Pair(pair.input, _grid(f"task {task.name}, solution {index}", output))
        for index, (pair, output) in enumerate(zip(task.tests, outputs, strict=True), 1)
    ]


def _grid(where: str, value: Any) -> Grid:
    def is_line(line: Any) -> bool:
        return isinstance(line, list) and 1 <= len(line) <= MAX_SIZE

    if not is_line(value) or not all(is_line(row) and len(row) == len(value[0]) for row in value):
        raise ArcFileError(f"{where}: expected 1 to {MAX_SIZE} equally long rows of 1 to {MAX_SIZE} colours")
    for row in value:
        for colour in row:
            if type(colour) is not int or colour not in COLOURS:
                raise ArcFileError(f"{where}: expected colours 0 to 9, got {str(colour)[:20]}")
    grid: Grid = value
    return grid
