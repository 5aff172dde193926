"""Views: what a user calls a filter of runs, with its order and columns. Everybody has their own."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from laser_core.schema import Problem
from store.database import read, write
from store.dialect import insert
from store.errors import Conflict, NotFound, Refused
from store.filter_fields import condition
from store.tables import views
from store.text import clean

MOST_VIEWS = 100  # of one user
NAME_LENGTH = 80


@dataclass(frozen=True)
class View:
    """``columns`` are those of the run list, empty for its own choice."""

    id: str
    name: str
    filter: str
    sort: str
    columns: tuple[str, ...]


_COLUMNS = [views.c[name] for name in View.__dataclass_fields__]


def save(
    engine: sa.Engine, owner_id: str, name: str, filter: str = "", sort: str = "", columns: Sequence[str] = ()
) -> View:
    """The user's view of that name, made or overwritten. Raises Refused for a bad name or filter, Conflict for too many."""
    name = clean(name, NAME_LENGTH).strip()
    if not name:
        raise Refused(Problem("name", f"expected 1 to {NAME_LENGTH} characters"))
    condition(filter, owner_id, 0.0)  # what can't be understood isn't kept
    values = {"filter": filter, "sort": sort, "columns": list(columns)}
    statement = {"id": "v_" + secrets.token_hex(8), "owner_id": owner_id, "name": name, **values}
    with write(engine) as connection:
        kept = insert(connection, views).values(statement)
        kept = kept.on_conflict_do_update(index_elements=["owner_id", "name"], set_=values)
        connection.execute(kept)
        mine = sa.select(*_COLUMNS).where(views.c.owner_id == owner_id)
        if len(connection.execute(mine).all()) > MOST_VIEWS:
            raise Conflict(f"{MOST_VIEWS} views are kept; delete one first")
        return _view(connection.execute(mine.where(views.c.name == name)).one())


def list_views(engine: sa.Engine, owner_id: str) -> list[View]:
    """The user's, by name."""
    with read(engine) as connection:
        rows = connection.execute(sa.select(*_COLUMNS).where(views.c.owner_id == owner_id)).all()
    return sorted(map(_view, rows), key=lambda view: view.name.lower())


def delete(engine: sa.Engine, owner_id: str, view_id: str) -> None:
    """Raises NotFound where the user has no such view."""
    if "\0" not in view_id:
        with write(engine) as connection:
            gone = sa.delete(views).where(views.c.id == view_id, views.c.owner_id == owner_id)
            if connection.execute(gone.returning(views.c.id)).scalar() is not None:
                return
    raise NotFound(f"no view {view_id[:40]!r}")


def _view(row: sa.Row[tuple[object, ...]]) -> View:
    values = dict(row._mapping)
    return View(**values | {"columns": tuple(values["columns"])})
