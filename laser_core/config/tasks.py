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
class CsvTask(Checked):
    """Sudoku puzzles from files with the header ``source,q,a,rating``."""

    kind: Literal["csv"] = "csv"
    train: str = option("", "Dataset to train on: its id or name on the platform, a path offline.", max_length=500)
    test: str = option("", "Dataset to test on; empty holds a tenth of the training file back.", max_length=500)
    augment: bool = option(
        True, "Permute digits, bands, stacks, rows and columns and transpose, anew for every sample."
    )

    def cross_check(self) -> list[Problem]:
        return [] if self.train or self.test else [Problem("train", "name at least one dataset, in train or test")]


Task = SudokuTask | CsvTask
