"""Subspace traces: one row per site and update of its basis."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa


@dataclass(frozen=True)
class SiteTrace:
    """One site's updates in order, as columns; ``energies`` only when asked for."""

    site: str
    width: int
    steps: list[int]
    ranks: list[int]
    fidelities: list[float]
    drifts: list[float]
    saved_bytes: list[int]
    events: list[str]
    energies: list[list[float]] | None = None


def read(
    engine: sa.Engine,
    run_id: str,
    site: str | None = None,
    after_step: int | None = None,
    with_energies: bool = False,
) -> list[SiteTrace]:
    """Traces of every site (or one), sorted by site. Raises NotFound for the run."""
    raise NotImplementedError
