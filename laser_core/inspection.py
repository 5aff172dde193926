"""What an inspection tells of one puzzle's way through the recursion (run kind ``inspect``). Never loads torch.

The network's calls are counted as the model makes them: supervision steps of ``cycles`` cycles each, a cycle of n latent
updates (recursion steps 1 to n) and one answer update (n + 1). All counts start from 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

FILE = "inspection.json"
FORMAT = 1


@dataclass(frozen=True)
class Reading:
    """What the answer says after one cycle. Cells are counted from 0 in reading order."""

    supervision_step: int
    cycle: int
    cells: str  # one character per cell, as in the question
    confidences: tuple[float, ...]  # stable-max probability of what stands in the cell
    changed: tuple[int, ...]  # cells that differ from the reading before; at the first one none
    violations: tuple[int, ...]  # cells that break a rule
    solved: bool  # by the rules; for ARC, equal to the solution
    halt_logit: float  # above 0 the model wishes to halt


@dataclass(frozen=True)
class Place:
    """Where a state was after one call of the network. ``x`` and ``y`` are its mean over positions in the plane; ``norm`` is
    the root mean square over positions of their lengths; ``drift`` is ‖z − z₋₁‖ / ‖z‖, z₋₁ being the same state before."""

    supervision_step: int
    cycle: int
    recursion_step: int
    state: Literal["latent", "answer"]
    x: float
    y: float
    norm: float
    drift: float


@dataclass(frozen=True)
class Inspection:
    """One puzzle followed through one checkpoint."""

    checkpoint_step: int
    kind: Literal["sudoku", "maze", "arc"]
    size: int  # side of the grid
    question: str
    solution: str  # empty where none is known, or there are several
    solutions: int | None  # of a typed Sudoku, 2 for more than one; None where not counted
    plane: Literal["tracked", "measured"]  # directions of greatest movement, within the tracked subspace or at large
    plane_share: float  # of the latent's movement (squared, of its mean over positions) that happens in the plane
    cycles: int
    latent_steps: int
    readings: tuple[Reading, ...]
    path: tuple[Place, ...]


def from_json(data: dict[str, Any]) -> Inspection:
    """The inspection of a file's JSON data. Raises ValueError for another format."""
    values = dict(data)
    if values.pop("format", None) != FORMAT:
        raise ValueError(f"format: expected {FORMAT}, got {data.get('format')!r}; inspect the puzzle again")
    columns = ("confidences", "changed", "violations")
    readings = (Reading(**(r | {name: tuple(r[name]) for name in columns})) for r in values.pop("readings"))
    path = (Place(**place) for place in values.pop("path"))
    return Inspection(**values, readings=tuple(readings), path=tuple(path))
