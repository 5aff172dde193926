"""Metrics: points packed in chunks, so that a million of one series is a few hundred rows.

Steps of one series only rise. A point at or below the newest step is one that a resumed run computed again from its
checkpoint; it has the same value and is left out (docs/decisions/0004-metric-storage.md).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import sqlalchemy as sa
from tsdownsample import MinMaxDownsampler

from store import database
from store.dialect import insert
from store.runs import number_of
from store.tables import chunks, series

TAIL_POINTS = 512  # a shorter last chunk is written anew with what follows: 8 KiB at most for every flush
CHUNK_POINTS = 8192
SUMMARY_POINTS = 64
BEFORE_ALL = int(np.iinfo(np.int64).min)
_DOWNSAMPLER: Any = cast(Any, MinMaxDownsampler)()

_place = (chunks.c.key, chunks.c.first_step, chunks.c.points)
_whole = sa.select(*_place, chunks.c.packed_steps, chunks.c.packed_values)
_summaries = sa.select(
    *_place, chunks.c.summary_steps.label("packed_steps"), chunks.c.summary_values.label("packed_values")
)

Points = Mapping[str, tuple[Sequence[int], Sequence[float | None]]]  # None stands for NaN


@dataclass(frozen=True)
class Series:
    """One metric's points, steps rising; ``count`` is how many there are before down-sampling. Values may be nan or inf."""

    key: str
    steps: list[int]
    values: list[float]
    count: int


def keys(engine: sa.Engine, run_id: str) -> list[str]:
    """Names of a run's metrics, sorted. Raises NotFound."""
    with database.read(engine) as connection:
        number = number_of(connection, run_id)
        return list(
            connection.execute(sa.select(series.c.key).where(series.c.run == number).order_by(series.c.key)).scalars()
        )


def read(
    engine: sa.Engine,
    run_id: str,
    keys: Sequence[str] | None = None,
    points: int = 1000,
    after_step: int | None = None,
) -> list[Series]:
    """At most ``points`` points of each metric (all metrics when ``keys`` is None), after ``after_step``, sorted by key.

    The first and last point and the least and greatest value of every stretch are kept exactly. Raises NotFound.
    """
    with database.read(engine) as connection:
        wanted = [chunks.c.run == number_of(connection, run_id)]
        if keys is not None:
            wanted.append(chunks.c.key.in_(keys))
        if after_step is not None:
            wanted.append(chunks.c.last_step > after_step)
        held = sa.func.sum(chunks.c.points)
        counts = connection.execute(sa.select(chunks.c.key, held).where(*wanted).group_by(chunks.c.key)).all()
        long = [key for key, count in counts if count > points * SUMMARY_POINTS // 2]
        short = [key for key, count in counts if key not in long]
        rows = list(connection.execute(_whole.where(*wanted, chunks.c.key.in_(short)))) if short else []
        if long and after_step is not None:
            rows += connection.execute(_whole.where(*wanted, chunks.c.key.in_(long), chunks.c.first_step <= after_step))
            wanted.append(chunks.c.first_step > after_step)
        if long:
            rows += connection.execute(_summaries.where(*wanted, chunks.c.key.in_(long)))
    rows.sort(key=lambda row: (row.key, row.first_step))
    return [
        _series(key, list(group), points, after_step) for key, group in itertools.groupby(rows, key=lambda row: row.key)
    ]


def iter_points(engine: sa.Engine, run_id: str, keys: Sequence[str] | None = None) -> Iterator[tuple[str, int, float]]:
    """Every (key, step, value) of all metrics or ``keys``, by key and step. Raises NotFound at once."""
    return (
        (key, step, value)
        for key, steps, values in iter_arrays(engine, run_id, keys)
        for step, value in zip(steps.tolist(), values.tolist(), strict=True)
    )


def iter_arrays(engine: sa.Engine, run_id: str, keys: Sequence[str] | None = None) -> Iterator[tuple[str, Any, Any]]:
    """Every point as (key, steps int64, values float64), by key and step, a few thousand together; a few chunks are read at
    a time, so that a slow reader holds no transaction open. Raises NotFound at once.
    """
    with database.read(engine) as connection:
        wanted = [chunks.c.run == number_of(connection, run_id)]
    return _iter_arrays(engine, wanted if keys is None else [*wanted, chunks.c.key.in_(keys)])


def count_keys(connection: sa.Connection, number: int) -> int:
    """How many metrics a run has."""
    query = sa.select(sa.func.count()).select_from(series).where(series.c.run == number)
    return connection.execute(query).scalar_one()


def append(connection: sa.Connection, number: int, points: Points) -> int:
    """Adds points to a run whose row the caller has locked; those that are there already are left out. How many were new."""
    return append_all(connection, {number: points})


def append_all(connection: sa.Connection, points: Mapping[int, Points]) -> int:
    """As ``append``, for several runs by their numbers."""
    heads = {(row.run, row.key): row for row in connection.execute(sa.select(series).where(series.c.run.in_(points)))}
    fresh = {
        (number, key): _fresh(steps, values, heads.get((number, key)))
        for number, by_key in points.items()
        for key, (steps, values) in by_key.items()
    }
    fresh = {place: arrays for place, arrays in fresh.items() if len(arrays[0])}
    if not fresh:
        return 0
    tails = _tails(connection, [heads[place] for place in fresh if place in heads])
    chunk_rows, series_rows = [], []
    for place, (steps, values) in fresh.items():
        added = len(steps)
        if place in tails:
            steps, values = np.concatenate([tails[place][0], steps]), np.concatenate([tails[place][1], values])
        pieces = list(_chunks(*place, steps, values))
        chunk_rows += pieces
        before = heads[place].points if place in heads else 0
        series_rows.append(_head(*place, before + added, steps, values, pieces[-1]))
    _replace(connection, chunks, chunk_rows)
    _replace(connection, series, series_rows)
    return sum(len(steps) for steps, _ in fresh.values())


# --- writing -----------------------------------------------------------------------------------------------------------


def _fresh(steps: Sequence[int], values: Sequence[float | None], head: sa.Row[Any] | None) -> tuple[Any, Any]:
    """The points whose step is above every one before."""
    steps_array, values_array = np.asarray(steps, "<i8"), np.asarray(values, "<f8")
    newest = BEFORE_ALL if head is None else head.step
    highest = np.maximum.accumulate(np.concatenate([[newest], steps_array]))[:-1]
    rising = steps_array > highest
    return (steps_array, values_array) if rising.all() else (steps_array[rising], values_array[rising])


def _tails(connection: sa.Connection, heads: list[sa.Row[Any]]) -> dict[tuple[int, str], tuple[Any, Any]]:
    """Points of the last chunks that are still short."""
    short = [(head.run, head.key, head.tail_step) for head in heads if head.tail_points < TAIL_POINTS]
    if not short:
        return {}
    place = sa.tuple_(chunks.c.run, chunks.c.key, chunks.c.first_step)
    query = sa.select(chunks.c.run, chunks.c.key, chunks.c.packed_steps, chunks.c.packed_values)
    return {(row.run, row.key): _unpacked([row]) for row in connection.execute(query.where(place.in_(short)))}


def _chunks(number: int, key: str, steps: Any, values: Any) -> Iterator[dict[str, Any]]:
    for start in range(0, len(steps), CHUNK_POINTS):
        part, part_values = steps[start : start + CHUNK_POINTS], values[start : start + CHUNK_POINTS]
        kept = _extremes(part_values)
        yield {
            "run": number,
            "key": key,
            "first_step": int(part[0]),
            "last_step": int(part[-1]),
            "points": len(part),
            "packed_steps": part.tobytes(),
            "packed_values": part_values.tobytes(),
            "summary_steps": part[kept].tobytes(),
            "summary_values": part_values[kept].tobytes(),
        }


def _extremes(values: Any) -> Any:
    """Indices of the ends and of the least and greatest of every SUMMARY_POINTS values; NaN only where all are."""
    count = len(values)
    starts = np.arange(0, count, SUMMARY_POINTS)
    padded = np.full(len(starts) * SUMMARY_POINTS, np.nan)
    padded[:count] = values
    blocks = padded.reshape(-1, SUMMARY_POINTS)
    lows = starts + np.where(np.isnan(blocks), np.inf, blocks).argmin(axis=1)
    highs = starts + np.where(np.isnan(blocks), -np.inf, blocks).argmax(axis=1)
    return np.unique(np.concatenate([[0], lows, highs, [count - 1]]))


def _head(number: int, key: str, points: int, steps: Any, values: Any, tail: dict[str, Any]) -> dict[str, Any]:
    value = float(values[-1])
    return {
        "run": number,
        "key": key,
        "points": points,
        "step": int(steps[-1]),
        "value": None if np.isnan(value) else value,
        "tail_step": tail["first_step"],
        "tail_points": tail["points"],
    }


def _replace(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    statement = insert(connection, table)
    fixed = {column.name for column in table.primary_key}
    changed = {column.name: statement.excluded[column.name] for column in table.c if column.name not in fixed}
    connection.execute(statement.on_conflict_do_update(index_elements=sorted(fixed), set_=changed), rows)


# --- reading -----------------------------------------------------------------------------------------------------------


def _unpacked(rows: Sequence[Any]) -> tuple[Any, Any]:
    steps = np.frombuffer(b"".join(row.packed_steps for row in rows), "<i8")
    return steps, np.frombuffer(b"".join(row.packed_values for row in rows), "<f8")


def _series(key: str, rows: list[Any], points: int, after_step: int | None) -> Series:
    steps, values = _unpacked(rows)
    count = sum(row.points for row in rows)
    if after_step is not None:
        start = int(np.searchsorted(steps, after_step, side="right"))
        steps, values, count = steps[start:], values[start:], count - start
    kept = _kept(values, points)
    return Series(key, steps[kept].tolist(), values[kept].tolist(), count)


def _kept(values: Any, points: int) -> Any:
    """Indices of at most ``points`` values: the ends, and the extremes of equal stretches between."""
    if len(values) <= max(points, 4):
        return slice(None)
    pairs = max(2, points - 2) // 2 * 2
    chosen = _DOWNSAMPLER.downsample(np.ascontiguousarray(values), n_out=pairs)
    return np.unique(np.concatenate([[0], chosen.astype(np.int64), [len(values) - 1]]))


def _iter_arrays(engine: sa.Engine, wanted: list[sa.ColumnElement[bool]]) -> Iterator[tuple[str, Any, Any]]:
    place = ("", BEFORE_ALL)
    while True:
        later = sa.tuple_(chunks.c.key, chunks.c.first_step) > sa.tuple_(*place)
        query = _whole.where(*wanted, later).order_by(chunks.c.key, chunks.c.first_step).limit(16)
        with database.read(engine) as connection:
            rows = connection.execute(query).all()
        if not rows:
            return
        for row in rows:
            yield row.key, *_unpacked([row])
        place = (rows[-1].key, rows[-1].first_step)
