"""Storing what a run says, exactly once: events and the spool offset they reach are one transaction."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from laser_core.events import (
    CheckpointSaved,
    Event,
    FileSaved,
    Log,
    Memory,
    Metrics,
    Peak,
    Progress,
    Result,
    Spectrum,
    Started,
    Trace,
    to_json,
)
from laser_core.schema import Problem
from store import metrics, traces
from store.artifacts import new_id
from store.claims import hold
from store.database import read, write
from store.devices import MARGIN
from store.dialect import insert
from store.errors import Conflict, NotFound, Refused
from store.runs import number_of
from store.tables import artifacts, attempts, runs
from store.tables import events as event_table
from store.text import clean

LOG_CHARACTERS = 4000
KEY_CHARACTERS = 120
MOST_KEYS = 1000  # metrics of a run that come from outside
CHECKPOINTS_KEPT = 2  # on disk, by laser_core.checkpoint
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")


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
    now = time.time() if now is None else now
    batch = _Batch()
    for event in events:
        batch.add(event)
    with write(engine) as connection:
        row = hold(connection, run_id, epoch)
        this_attempt = sa.and_(attempts.c.run == row.number, attempts.c.epoch == epoch)
        offset = connection.execute(sa.select(attempts.c.spool_offset).where(this_attempt)).scalar_one()
        if end <= offset:
            return
        if start != offset:
            raise Conflict(f"spool bytes {start} to {end} don't continue the {offset} stored; read on from there")
        connection.execute(sa.update(attempts).where(this_attempt).values(spool_offset=end))
        batch.store(connection, row, now)


def add_points(engine: sa.Engine, run_id: str, epoch: int, points: metrics.Points, *, now: float | None = None) -> int:
    """Stores points that came without a spool: how many of them were new. None stands for NaN.

    A step at or below the newest of its metric counts as stored already. Raises NotFound, Superseded when the run is not
    this epoch's, and Refused for a run that would have more than MOST_KEYS metrics.
    """
    now = time.time() if now is None else now
    with write(engine) as connection:
        row = hold(connection, run_id, epoch)
        added = metrics.append(connection, row.number, points)
        if added:
            newest = max(steps[-1] for steps, _ in points.values())
            _Batch(log=[("metrics", {"step": newest})]).store(connection, row, now)
        if metrics.count_keys(connection, row.number) > MOST_KEYS:
            raise Refused(Problem("series", f"run {run_id} would have more than {MOST_KEYS} metrics; use fewer names"))
        return added


def say(engine: sa.Engine, run_id: str, epoch: int, line: Log, *, now: float | None = None) -> None:
    """Stores a line that doesn't come from the spool. Raises Superseded when the run is not this epoch's."""
    batch = _Batch()
    batch.add(line)
    with write(engine) as connection:
        batch.store(connection, hold(connection, run_id, epoch), time.time() if now is None else now)


def spool_offset(engine: sa.Engine, run_id: str, epoch: int) -> int:
    """Bytes of this attempt's spool that are stored. Raises NotFound."""
    with read(engine) as connection:
        this_attempt = (attempts.c.run == number_of(connection, run_id), attempts.c.epoch == epoch)
        offset: int | None = connection.execute(sa.select(attempts.c.spool_offset).where(*this_attempt)).scalar()
        if offset is None:
            raise NotFound(f"run {run_id} has no attempt {epoch}")
        return offset


@dataclass
class _Batch:
    """Events sorted by where they are stored."""

    log: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # (kind, data) of the run's event log
    points: dict[str, tuple[list[int], list[float]]] = field(default_factory=dict)
    traces: list[Trace] = field(default_factory=list)
    checkpoints: list[CheckpointSaved] = field(default_factory=list)
    reports: list[FileSaved] = field(default_factory=list)
    columns: dict[str, Any] = field(default_factory=dict)  # of the run's row

    def add(self, event: Event) -> None:
        match event:
            case Metrics(step, values):
                for key, value in values.items():
                    steps, column = self.points.setdefault(key[:KEY_CHARACTERS], ([], []))
                    steps.append(step)
                    column.append(value)
            case Trace():
                self.traces.append(event)
            case Progress(step, steps, step_time_s):
                self.columns |= {"step": step, "steps": steps, "step_time_s": step_time_s}
            case Peak(_, held_bytes):
                self.columns |= {"memory_peak": held_bytes, "memory_held": int(MARGIN * held_bytes)}
            case Log(message, level):
                self.log.append(("log", {"message": clean(message, LOG_CHARACTERS), "level": level}))
            case Started(step, steps):
                self.columns |= {"step": step, "steps": steps}
                self.log.append(("started", _data(event)))
            case Memory():
                self.log.append(("memory", _data(event)))
            case CheckpointSaved(step):
                self.columns["step"] = step
                self.checkpoints.append(_checked(event))
                self.log.append(("checkpoint", _data(event)))
            case FileSaved(name):
                _check_name(name)
                self.reports.append(event)
                self.log.append(("file", _data(event)))
            case Spectrum():
                pass  # all of them are in the run's analysis.json, which is listed as a FileSaved
            case Result():
                self.columns["result"] = _data(event)
                self.log.append(("result", _data(event)))
            case _:
                raise TypeError(f"{type(event).__name__} is not an event that can be stored")

    def store(self, connection: sa.Connection, row: sa.Row[Any], now: float) -> None:
        if self.points:
            metrics.append(connection, row.number, self.points)
            self.log.append(("metrics", {"step": max(steps[-1] for steps, _ in self.points.values())}))
        if self.traces:
            traces.append(connection, row.number, self.traces)
            self.log.append(("traces", {"step": self.traces[-1].step}))
        if self.checkpoints:
            self.columns |= _point_at(connection, row, self.checkpoints, now)
        if self.reports:
            rows = [_artifact_row(row, "report", "", file.name, 0, file.sha256, now) for file in self.reports]
            _list(connection, rows)
        if self.log:
            numbered = enumerate(self.log, row.last_seq + 1)
            entry = {"run": row.number, "time": now, "epoch": row.epoch}
            entries = [entry | {"seq": seq, "kind": kind, "data": data} for seq, (kind, data) in numbered]
            connection.execute(sa.insert(event_table), entries)
        columns = self.columns | {"last_seq": row.last_seq + len(self.log), "updated_at": now}
        connection.execute(sa.update(runs).where(runs.c.number == row.number).values(columns))


def _data(event: Event) -> dict[str, Any]:
    return {name: value for name, value in to_json(event).items() if name != "type"}


def _checked(event: CheckpointSaved) -> CheckpointSaved:
    for name in (event.name, *event.files):
        _check_name(name)
    return event


def _check_name(name: str) -> None:
    if not _FILE_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no plain file name")


def _artifact_row(
    row: sa.Row[Any], kind: str, folder: str, name: str, step: int, sha256: str, now: float
) -> dict[str, Any]:
    values = {"id": new_id(), "run": row.number, "kind": kind, "folder": folder, "name": name}
    return values | {"epoch": row.epoch, "step": step, "sha256": sha256, "created_at": now}


def _list(connection: sa.Connection, files: list[dict[str, Any]]) -> None:
    """Lists files; one that is listed already, written anew by a later attempt, keeps its id."""
    statement = insert(connection, artifacts)
    renewed = {name: statement.excluded[name] for name in ("epoch", "step", "sha256", "created_at")}
    place = ["run", "kind", "folder", "name"]
    connection.execute(statement.on_conflict_do_update(index_elements=place, set_=renewed), files)


def _point_at(
    connection: sa.Connection, row: sa.Row[Any], checkpoints: Iterable[CheckpointSaved], now: float
) -> dict[str, Any]:
    """Lists the checkpoints' files and forgets those of older ones; the columns that point the run at the newest."""
    kept = list(checkpoints)[-CHECKPOINTS_KEPT:]
    files = [
        _artifact_row(row, "checkpoint", checkpoint.name, name, checkpoint.step, sha256, now)
        for checkpoint in kept
        for name, sha256 in checkpoint.files.items()
    ]
    if files:
        _list(connection, files)
    mine = sa.and_(artifacts.c.run == row.number, artifacts.c.kind == "checkpoint")
    newest = (
        sa.select(artifacts.c.step).where(mine).distinct().order_by(artifacts.c.step.desc()).limit(CHECKPOINTS_KEPT)
    )
    steps = connection.execute(newest).scalars().all()
    if steps:
        connection.execute(sa.delete(artifacts).where(mine, artifacts.c.step < steps[-1]))
    moved_on = kept[-1].step > (row.checkpoint_step or -1)
    columns = {"checkpoint": kept[-1].name, "checkpoint_step": kept[-1].step}
    return columns | ({"lost": 0} if moved_on else {})
