"""Listing runs: filters, sorting and keyset pages that stay fast with a hundred thousand runs.

Each order is one that an index gives. An order by a metric comes in two parts, so that its index can be used: runs that
have a value, then those without (or with NaN), newest first.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any

import sqlalchemy as sa

from laser_core.schema import Problem
from store.database import read
from store.errors import Refused
from store.filter_fields import among, condition, matches_text, single_value
from store.runs import Run, load, owned
from store.states import State
from store.tables import run_tags, runs, series
from store.users import Owners

SORTS = ("created", "updated", "name", "state")  # by an index
MAX_LIMIT = 500
FEW = 1000  # runs


@dataclass(frozen=True)
class RunQuery:
    """Which runs, in which order. Several values of one filter mean any of them, of ``tag`` all of them."""

    state: tuple[str, ...] = ()
    kind: str | None = None
    store: str | None = None
    tag: tuple[str, ...] = ()
    text: str = ""  # in the name, the id or a tag
    ids: tuple[str, ...] = ()
    filter: str = ""  # in the language of store.filters
    me: str = ""  # id of the user whom owner:me means there
    sort: str = (
        "-created"  # one of SORTS, metric.<key> or another single value of store.filter_fields; minus: descending
    )
    cursor: str | None = None
    limit: int = 50


@dataclass(frozen=True)
class Page:
    """``total`` counts all that match; ``next_cursor`` is None on the last page."""

    items: list[Run]
    next_cursor: str | None
    total: int


def list_runs(engine: sa.Engine, query: RunQuery, owners: Owners) -> Page:
    """A page of the runs of ``owners``. Raises Refused for an unknown state, sort or limit, a filter
    that can't be understood, or a cursor of another order."""
    if not 1 <= query.limit <= MAX_LIMIT:
        raise Refused(Problem("limit", f"expected 1 to {MAX_LIMIT}, got {query.limit}"))
    wanted = [*_filters(query), *([] if owners is None else [owned(owners)])]
    order = _order(query.sort)
    start = _start(query)
    with read(engine) as connection:
        total, wanted = _counted(connection, wanted)
        places: list[list[Any]] = []  # what the next cursor says of each run: [part, value, number]
        for part, select in enumerate(order):
            if (start is None or start[0] <= part) and len(places) <= query.limit:
                after = start[1:] if start is not None and start[0] == part else None
                found = connection.execute(select(wanted, after).limit(query.limit + 1 - len(places)))
                places += [[part, *row] for row in found]
        items = load(connection, [place[-1] for place in places[: query.limit]])
    more = len(places) > query.limit
    return Page(items, _cursor(query.sort, places[query.limit - 1]) if more else None, total)


def _counted(
    connection: sa.Connection, wanted: list[sa.ColumnElement[bool]]
) -> tuple[int, list[sa.ColumnElement[bool]]]:
    """How many runs fit; and when these are few, their numbers as the condition, so that nobody looks for them again."""
    if wanted:
        numbers = connection.execute(sa.select(runs.c.number).where(*wanted).limit(FEW + 1)).scalars().all()
        if len(numbers) <= FEW:
            return len(numbers), [runs.c.number.in_(numbers)]
    return connection.execute(sa.select(sa.func.count()).select_from(runs).where(*wanted)).scalar_one(), wanted


# --- filters -----------------------------------------------------------------------------------------------------------


def _filters(query: RunQuery) -> list[sa.ColumnElement[bool]]:
    unknown = [state for state in query.state if state not in set(State)]
    if unknown:
        raise Refused(Problem("state", f"expected one of {', '.join(State)}, got {unknown[0][:40]!r}"))
    conditions: list[sa.ColumnElement[bool]] = []
    if query.state:
        conditions.append(runs.c.state.in_(query.state))
    if query.kind is not None:
        conditions.append(runs.c.kind == _plain(query.kind))
    elif not query.ids and "kind" not in query.filter:
        conditions.append(runs.c.kind != "inspect")  # one for every look at a puzzle: only for those who ask for them
    if query.store is not None:
        conditions.append(runs.c.store_kind == _plain(query.store))
    if query.ids:
        conditions.append(runs.c.id.in_([_plain(run_id) for run_id in query.ids]))
    conditions += [among(run_tags.c.run, run_tags.c.tag == _plain(tag)) for tag in query.tag]
    if text := _plain(query.text).strip():
        conditions.append(matches_text(text))
    if (filtered := condition(query.filter, query.me, time.time())) is not None:
        conditions.append(filtered)
    return conditions


def _plain(text: str) -> str:
    return text.replace("\0", "")  # PostgreSQL refuses NUL in any text


# --- orders ------------------------------------------------------------------------------------------------------------

Select = Callable[[list[sa.ColumnElement[bool]], list[Any] | None], sa.Select[*tuple[Any, ...]]]


def _order(sort: str) -> list[Select]:
    """The parts of an order: each selects (value, number) of the wanted runs after a place."""
    descending, name = sort.startswith("-"), sort.removeprefix("-")
    if name == "created":
        return [_by(runs.c.number, descending)]
    if name in SORTS:
        column = {"updated": runs.c.updated_at, "name": runs.c.name, "state": runs.c.state}[name]
        return [_by(column, descending)]
    if (value := single_value(name)) is not None:
        return [_by(value, descending, [value.is_not(None)]), _by(sa.null(), True, [value.is_(None)])]
    key = _plain(name.removeprefix("metric."))
    if not name.startswith("metric.") or not key:
        raise Refused(
            Problem(
                "sort",
                f"expected {', '.join(SORTS)}, metric.<name>, config.<field> or another field of filters with one value, "
                f"with - to descend; got {sort[:60]!r}",
            )
        )
    return [_with_value(key, descending), _without_value(key)]


def _by(column: sa.ColumnElement[Any], descending: bool, only: Sequence[sa.ColumnElement[bool]] = ()) -> Select:
    """By a column, and by number alone where it is NULL."""
    value = runs.c.number if isinstance(column, sa.Null) else column

    def select(wanted: list[sa.ColumnElement[bool]], after: list[Any] | None) -> sa.Select[*tuple[Any, ...]]:
        after = [after[1], after[1]] if after and value is runs.c.number else after
        return _page(sa.select(column, runs.c.number).where(*wanted, *only), value, runs.c.number, descending, after)

    return select


def _with_value(key: str, descending: bool) -> Select:
    def select(wanted: list[sa.ColumnElement[bool]], after: list[Any] | None) -> sa.Select[*tuple[Any, ...]]:
        query = sa.select(series.c.value, series.c.run).where(series.c.key == key, series.c.value.is_not(None))
        if wanted:
            query = query.join(runs, runs.c.number == series.c.run).where(*wanted)
        return _page(query, series.c.value, series.c.run, descending, after)

    return select


def _without_value(key: str) -> Select:
    has_value = sa.exists().where(series.c.run == runs.c.number, series.c.key == key, series.c.value.is_not(None))

    def select(wanted: list[sa.ColumnElement[bool]], after: list[Any] | None) -> sa.Select[*tuple[Any, ...]]:
        query = sa.select(sa.null(), runs.c.number).where(*wanted, sa.not_(has_value))
        return _page(query, runs.c.number, runs.c.number, True, after and [after[1], after[1]])

    return select


def _page(
    query: sa.Select[*tuple[Any, ...]],
    value: sa.ColumnElement[Any],
    number: sa.Column[Any],
    descending: bool,
    after: list[Any] | None,
) -> sa.Select[*tuple[Any, ...]]:
    """Continues ``query`` after a place (value, number), ordered by both."""
    if after is not None:
        here, there = sa.tuple_(value, number), sa.tuple_(*after)
        query = query.where(here < there if descending else here > there)
    return query.order_by(*(column.desc() if descending else column for column in dict.fromkeys((value, number))))


# --- cursors -----------------------------------------------------------------------------------------------------------


def _cursor(sort: str, place: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps([sort, *place]).encode()).decode().rstrip("=")


def _start(query: RunQuery) -> list[Any] | None:
    """[part, value, number] of the last run shown."""
    if query.cursor is None:
        return None
    try:
        sort, part, value, number = json.loads(base64.urlsafe_b64decode(query.cursor + "=" * (-len(query.cursor) % 4)))
    except (ValueError, TypeError, RecursionError):
        raise Refused(Problem("cursor", "not a cursor that a page of runs has given")) from None
    if sort != query.sort:
        raise Refused(
            Problem("cursor", f"belongs to the order {str(sort)[:60]!r}, not {query.sort[:60]!r}; start again")
        )
    column = single_value(query.sort.removeprefix("-"))
    is_text = query.sort.lstrip("-") in ("name", "state") or (column is not None and column.type.python_type is str)
    kind: type[Any] | UnionType = str if is_text else int | float
    fits = isinstance(value, kind) if part == 0 else value is None
    if not fits or not isinstance(number, int) or abs(number) >= 2**63 or "\0" in str(value):
        raise Refused(Problem("cursor", "not a cursor that a page of runs has given"))
    return [part, value, number]
