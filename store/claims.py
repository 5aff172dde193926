"""Taking runs, holding them by a lease, and giving them back: everything that fences a worker.

Each call takes ``now`` (seconds since 1970) so that tests need no waiting; it is the clock when left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from laser_core.events import Progress
from store.settings import Settings
from store.states import State


@dataclass(frozen=True)
class Claim:
    """A run in this worker's hands under ``epoch``, until its lease ends."""

    run_id: str
    epoch: int
    config: dict[str, Any]
    checkpoint: str | None  # folder name to resume from, under directory/"checkpoints"
    directory: Path  # of the run's artifacts
    files: dict[str, Path]  # datasets by the name that the configuration gives them
    source_checkpoint: Path | None  # for eval: the training run's checkpoint folder


@dataclass(frozen=True)
class Orders:
    """What a beat brings back."""

    cancel: bool


def claim_run(
    engine: sa.Engine, worker_id: str, lease_s: float, *, settings: Settings, now: float | None = None
) -> Claim | None:
    """Takes the oldest queued run, or None when none is ready. ``settings`` say where files lie."""
    raise NotImplementedError


def mark_running(engine: sa.Engine, run_id: str, epoch: int, *, now: float | None = None) -> None:
    """starting → running; nothing when a cancel came first. Raises Superseded."""
    raise NotImplementedError


def heartbeat(
    engine: sa.Engine,
    run_id: str,
    epoch: int,
    lease_s: float,
    progress: Progress | None = None,
    *,
    now: float | None = None,
) -> Orders:
    """Extends the lease. Raises Superseded when the run is no longer this epoch's."""
    raise NotImplementedError


def finish(
    engine: sa.Engine,
    run_id: str,
    epoch: int,
    state: State,
    reason: str = "",
    result: dict[str, Any] | None = None,
    *,
    now: float | None = None,
) -> None:
    """Ends the run: succeeded, failed or cancelled. Repeating it is harmless. ``result`` replaces what ingest stored.

    Raises Superseded, or Conflict for a state that the run can't end in.
    """
    raise NotImplementedError


def release(engine: sa.Engine, run_id: str, epoch: int, reason: str, *, now: float | None = None) -> None:
    """Gives the run back to the queue (a drained worker); not counted as lost. A cancelled one becomes cancelled.

    Raises Superseded.
    """
    raise NotImplementedError


def expire_leases(engine: sa.Engine, max_attempts: int = 3, *, now: float | None = None) -> list[str]:
    """The reconciler's round: ids of runs taken from silent workers or ended by a timeout of their state.

    A lost run returns to the queue; after ``max_attempts`` workers lost since its last checkpoint it fails.
    """
    raise NotImplementedError


def queued_count(engine: sa.Engine) -> int:
    """Runs that a worker could claim now."""
    raise NotImplementedError


def lead(engine: sa.Engine, name: str, holder: str, ttl_s: float, *, now: float | None = None) -> bool:
    """Whether ``holder`` leads ``name`` for the next ``ttl_s`` seconds; the leader renews by calling again."""
    raise NotImplementedError
