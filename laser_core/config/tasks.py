"""What a run trains or is measured on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from laser_core.schema import Checked, Problem, option


@dataclass(frozen=True)
class SudokuTask(Checked):
    """Sudoku generated with unique solutions; no test puzzle, nor one equivalent under the augmentation, is trained on."""

    kind: Literal["sudoku"] = "sudoku"
    size: Literal[4, 6, 9] = option(4, "Side of the grid; 6×6 has boxes of 2×3.")
    train_puzzles: int = option(1000, "Puzzles to train on.", ge=1, le=1_000_000)
    test_puzzles: int = option(1000, "Unseen puzzles to measure accuracy on.", ge=1, le=100_000)
    max_blanks: int = option(
        0, "Most cells left blank; 0 removes clues as long as the solution stays unique.", ge=0, le=81
    )
    augment: bool = option(
        True, "Permute digits, bands, stacks, rows and columns and transpose, anew for every sample."
    )
    data_seed: int = option(0, "Seed of the puzzles alone, so that paired runs share them.", ge=0, lt=2**31)

    def cross_check(self) -> list[Problem]:
        cells = self.size * self.size
        if self.max_blanks > cells:
            return [
                Problem(
                    "max_blanks",
                    f"expected at most {cells} (the cells of a {self.size}×{self.size} grid), got {self.max_blanks}",
                )
            ]
        return []


@dataclass(frozen=True)
class MazeTask(Checked):
    """Random mazes with start and goal far apart; no test maze, nor one equivalent under the augmentation, is trained on."""

    kind: Literal["maze"] = "maze"
    size: int = option(10, "Side of the grid.", ge=5, le=40)
    walls: float = option(0.38, "Chance of each cell to be a wall.", ge=0, lt=1)
    min_path: int = option(0, "Fewest steps from start to goal; 0 sets no limit but two.", ge=0, le=1600)
    unique: bool = option(False, "Only mazes with a single shortest path; else judge answers by their validity too.")
    train_puzzles: int = option(1000, "Mazes to train on.", ge=1, le=1_000_000)
    test_puzzles: int = option(1000, "Unseen mazes to measure accuracy on.", ge=1, le=100_000)
    augment: bool = option(True, "Turn and mirror, anew for every sample.")
    data_seed: int = option(0, "Seed of the mazes alone, so that paired runs share them.", ge=0, lt=2**31)

    def cross_check(self) -> list[Problem]:
        cells = self.size * self.size
        if self.min_path >= cells:
            message = f"expected less than {cells} (the cells of a {self.size}×{self.size} maze), got {self.min_path}"
            return [Problem("min_path", message)]
        return []


@dataclass(frozen=True)
class CsvTask(Checked):
    """Sudoku or mazes from files with the header ``source,q,a,rating``."""

    kind: Literal["csv"] = "csv"
    train: str = option(
        "", "Dataset to train on: its id or name on the platform; a path or a name on the hub offline.", max_length=500
    )
    test: str = option("", "Dataset to test on; empty holds a tenth of the training file back.", max_length=500)
    augment: bool = option(True, "Apply a random symmetry of the puzzle to every sample.")

    def cross_check(self) -> list[Problem]:
        return [] if self.train or self.test else [Problem("train", "name at least one dataset, in train or test")]


@dataclass(frozen=True)
class ArcTask(Checked):
    """ARC-AGI: grids turned into others by a rule that few examples show. Each task trains on its examples, under an
    identifier of its own for every augmented copy, so the model wants a puzzle_embedding."""

    kind: Literal["arc"] = "arc"
    challenges: str = option("", "JSON file of the tasks to solve.", max_length=500)
    solutions: str = option("", "JSON file of their tests' outputs; empty where the tests hold them.", max_length=500)
    more_challenges: str = option("", "Further tasks, trained on with their tests; empty for none.", max_length=500)
    more_solutions: str = option("", "Their tests' outputs; empty where the tests hold them.", max_length=500)
    size: int = option(30, "Side of the square that every grid is padded to; larger tasks are left out.", ge=2, le=30)
    augmentations: int = option(
        100, "Copies of each task under a random turn or reflection and permutation of colours.", ge=0, le=1000
    )
    data_seed: int = option(0, "Seed of the augmentations.", ge=0, lt=2**31)

    def cross_check(self) -> list[Problem]:
        if not self.challenges:
            return [Problem("challenges", "name the dataset of tasks to solve")]
        if self.more_solutions and not self.more_challenges:
            return [Problem("more_challenges", "name the tasks that more_solutions belongs to")]
        return []


Task = SudokuTask | MazeTask | CsvTask | ArcTask


def dataset_names(task: Task | None) -> tuple[str, ...]:
    """The datasets that a task reads by name."""
    names: tuple[str, ...] = ()
    match task:
        case CsvTask():
            names = (task.train, task.test)
        case ArcTask():
            names = (task.challenges, task.solutions, task.more_challenges, task.more_solutions)
    return tuple(name for name in names if name)
