"""Storing what a run says, exactly once: events and the spool offset they reach are one transaction."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from laser_core.events import Event


def ingest(
    engine: sa.Engine,
    run_id: str,
    epoch: int,
    start: int,
    end: int,
    events: Sequence[Event],
    *,
    now: float | None = None,
) -> None:
    """Stores the events found between byte ``start`` and ``end`` of the attempt's spool.

    A range that was stored already is left alone. Raises Superseded when the run is no longer this epoch's, and Conflict
    when the range doesn't continue the stored offset (read on from ``spool_offset``).
    """
    raise NotImplementedError


def spool_offset(engine: sa.Engine, run_id: str, epoch: int) -> int:
    """Bytes of this attempt's spool that are stored. Raises NotFound."""
    raise NotImplementedError
