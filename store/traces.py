"""Subspace traces: one row per site and update of its basis."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from laser_core.events import Trace
from store import database
from store.dialect import insert
from store.errors import NotFound
from store.runs import number_of
from store.tables import traces

PAGE = 500  # updates read in one transaction


@dataclass(frozen=True)
class SiteTrace:
    """One site's updates in order, as columns; ``energies`` only when asked for. NaN comes back as nan."""

    site: str
    width: int
    steps: list[int]
    ranks: list[int]
    fidelities: list[float]
    drifts: list[float]
    saved_bytes: list[int]
    events: list[str]
    energies: list[list[float]] | None = None
    step_fidelities: list[list[float]] | None = None  # by recursion step, for each update; with the energies


def read(
    engine: sa.Engine,
    run_id: str,
    site: str | None = None,
    after_step: int | None = None,
    with_energies: bool = False,
) -> list[SiteTrace]:
    """Traces of every site (or one), sorted by site. Raises NotFound for the run."""
    columns = [column for column in traces.c if with_energies or column.name not in ("energies", "step_fidelities")]
    with database.read(engine) as connection:
        query = sa.select(*columns).where(traces.c.run == number_of(connection, run_id))
        if site is not None:
            query = query.where(traces.c.site == site)
        if after_step is not None:
            query = query.where(traces.c.step > after_step)
        rows = connection.execute(query.order_by(traces.c.site, traces.c.number)).all()
    return [
        _site_trace(name, list(group), with_energies) for name, group in itertools.groupby(rows, lambda row: row.site)
    ]


def iter_updates(engine: sa.Engine, run_id: str) -> Iterator[Trace]:
    """Every update of every site, by site, a page at a time. Raises NotFound at once."""
    with database.read(engine) as connection:
        return _iter_updates(engine, number_of(connection, run_id))


@dataclass(frozen=True)
class SiteSpectrum:
    """What one update of a site's basis saw: ``energies`` are shares of all, along the basis's directions, descending;
    ``fidelities`` those at each recursion step, empty where they weren't looked at."""

    site: str
    step: int
    event: str
    rank: int
    width: int
    energies: list[float]
    fidelities: list[float]


def spectrum_at(engine: sa.Engine, run_id: str, site: str, step: int | None = None) -> SiteSpectrum:
    """Of the update in force at ``step``, the newest without one. Raises NotFound for the run, and before the first."""
    with database.read(engine) as connection:
        query = sa.select(traces).where(
            traces.c.run == number_of(connection, run_id), traces.c.site == site.replace("\0", "")
        )
        if step is not None:
            query = query.where(traces.c.step <= step)
        row = connection.execute(query.order_by(traces.c.number.desc()).limit(1)).one_or_none()
    if row is None:
        raise NotFound(
            f"run {run_id} updated no basis of site {site[:120]!r}" + (f" up to step {step}" if step else "")
        )
    seen = _floats(row.energies), _floats(row.step_fidelities)
    return SiteSpectrum(row.site, row.step, row.event, row.rank, row.width, *seen)


def append(connection: sa.Connection, number: int, updates: Iterable[Trace]) -> None:
    """Adds traces to a run whose row the caller has locked; a site's update that is there already is left alone."""
    rows = [
        {
            "run": number,
            "site": trace.site[:120],
            "number": trace.update,
            "step": trace.step,
            "event": trace.event,
            "rank": trace.rank,
            "width": trace.width,
            "fidelity": _nullable(trace.fidelity),
            "drift": _nullable(trace.drift),
            "saved_bytes": trace.saved_bytes,
            "energies": np.asarray(trace.energies, "<f4").tobytes(),
            "step_fidelities": np.asarray(trace.fidelities, "<f4").tobytes(),
        }
        for trace in updates
    ]
    connection.execute(insert(connection, traces).on_conflict_do_nothing(), rows)


def _iter_updates(engine: sa.Engine, run: int) -> Iterator[Trace]:
    place = ("", -1)
    while True:
        later = sa.tuple_(traces.c.site, traces.c.number) > sa.tuple_(*place)
        query = sa.select(traces).where(traces.c.run == run, later).order_by(traces.c.site, traces.c.number)
        with database.read(engine) as connection:
            rows = connection.execute(query.limit(PAGE)).all()
        if not rows:
            return
        yield from map(_trace, rows)
        place = (rows[-1].site, rows[-1].number)


def _trace(row: sa.Row[Any]) -> Trace:
    same = {name: getattr(row, name) for name in ("step", "site", "event", "rank", "width", "saved_bytes")}
    return Trace(
        **same,
        update=row.number,
        fidelity=_number(row.fidelity),
        drift=_number(row.drift),
        energies=tuple(_floats(row.energies)),
        fidelities=tuple(_floats(row.step_fidelities)),
    )


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _nullable(value: float) -> float | None:
    return None if value != value else value  # SQLite has no NaN


def _floats(packed: bytes | None) -> list[float]:
    """None is what rows from before the column hold."""
    return [float(value) for value in np.frombuffer(packed or b"", "<f4")]


def _site_trace(site: str, rows: list[sa.Row[Any]], with_energies: bool) -> SiteTrace:
    return SiteTrace(
        site=site,
        width=rows[-1].width,
        steps=[row.step for row in rows],
        ranks=[row.rank for row in rows],
        fidelities=[_number(row.fidelity) for row in rows],
        drifts=[_number(row.drift) for row in rows],
        saved_bytes=[row.saved_bytes for row in rows],
        events=[row.event for row in rows],
        energies=[_floats(row.energies) for row in rows] if with_energies else None,
        step_fidelities=[_floats(row.step_fidelities) for row in rows] if with_energies else None,
    )
