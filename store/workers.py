"""Workers that announced themselves."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa


@dataclass(frozen=True)
class Worker:
    """``runs`` are the ids in its hands; ``alive`` tells whether it was heard of lately."""

    id: str
    host: str
    pid: int
    slots: int
    device: str
    version: str
    started_at: float
    seen_at: float
    alive: bool
    runs: tuple[str, ...]


def register(
    engine: sa.Engine,
    worker_id: str,
    host: str,
    pid: int,
    slots: int,
    device: str,
    version: str,
    *,
    now: float | None = None,
) -> None:
    """Announces a worker, or again after a restart under the same id."""
    raise NotImplementedError


def beat(engine: sa.Engine, worker_id: str, *, now: float | None = None) -> None:
    """Raises NotFound for a worker that must register again."""
    raise NotImplementedError


def list_workers(engine: sa.Engine, alive_s: float = 30, *, now: float | None = None) -> list[Worker]:
    """Newest beat first; one that was silent for a week is dropped."""
    raise NotImplementedError
