"""Puzzles ready for training: generated or read from files, split without a puzzle in common, served in batches.

"In common" is counted up to the augmentation in use: with it, puzzles that a symmetry turns into each other are the same.
Tokens are the official TRM data's; 0 is padding, which no label asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from laser_core.config import ArcTask, CsvTask, MazeTask, SudokuTask, Task
from laser_core.tasks import arc, files, mazes, sudoku
from laser_core.tasks.base import Preparing, Puzzles, PuzzleTask, Rules

__all__ = ["PuzzleTask", "Puzzles", "Rules", "prepare"]


def prepare(config: Task, paths: Mapping[str, Path]) -> Preparing:
    """Makes or reads the puzzles, saying on the way what people should know; the generator's value is the PuzzleTask.

    ``paths`` has one for each dataset that ``config`` names. Raises ConfigError naming the task's field at fault.
    """
    match config:
        case SudokuTask():
            return sudoku.generated(config)
        case MazeTask():
            return mazes.generated(config)
        case CsvTask():
            return files.read(config, paths)
        case ArcTask():
            return arc.read(config, paths)
