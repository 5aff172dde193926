"""Listing runs: filters, sorting and keyset pages."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from store.runs import Run

SORTS = ("created", "updated", "name", "state")


@dataclass(frozen=True)
class RunQuery:
    """Which runs, in which order. Several values of one filter mean any of them, of ``tag`` all of them."""

    state: tuple[str, ...] = ()
    kind: str | None = None
    store: str | None = None
    tag: tuple[str, ...] = ()
    text: str = ""  # in the name, the id or a tag
    ids: tuple[str, ...] = ()
    sort: str = "-created"  # one of SORTS or metric.<key>; a leading minus for descending
    cursor: str | None = None
    limit: int = 50


@dataclass(frozen=True)
class Page:
    """``total`` counts all that match; ``next_cursor`` is None on the last page."""

    items: list[Run]
    next_cursor: str | None
    total: int


def list_runs(engine: sa.Engine, query: RunQuery) -> Page:
    """Raises Refused for an unknown state, sort or a cursor of another query."""
    raise NotImplementedError
