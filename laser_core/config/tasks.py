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


Task = SudokuTask | MazeTask | CsvTask
