"""Makes a run of this installation from an archive (``store.archive``) that somebody sent.

Files go where this installation keeps a run's, whatever the archive calls them; one transaction stores all rows. What fails
leaves nothing behind.
"""

from __future__ import annotations

import itertools
import math
import secrets
import time
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import sqlalchemy as sa
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from laser_core.events import CheckpointSaved, FileSaved, Log, Memory, Result, Started, Trace
from store import audit, checkouts, metrics, traces
from store.archive import EVENTS, FACTS, TRACES, Curve, Facts, File
from store.archive_reader import Archive, refused, told
from store.artifacts import new_id, path_in_run
from store.blobs import of_run
from store.database import read, write
from store.dialect import insert
from store.events import StoredEvent
from store.ingest import LOG_CHARACTERS
from store.policy import BANDS
from store.runs import Run, load
from store.settings import Settings
from store.submit import row_values
from store.tables import artifacts, attempts, datasets, run_datasets, run_tags, runs
from store.tables import events as event_table
from store.text import clean, clean_lines

BATCH = 1000  # lines read and rows written together

_StateChange = TypedDict("_StateChange", {"state": str, "from": str, "reason": str})


class _Newest(TypedDict):
    step: int


_TOLD: dict[str, TypeAdapter[Any]] = {
    "state": TypeAdapter(_StateChange),
    "started": TypeAdapter(Started),
    "log": TypeAdapter(Log),
    "checkpoint": TypeAdapter(CheckpointSaved),
    "metrics": TypeAdapter(_Newest),
    "traces": TypeAdapter(_Newest),
    "memory": TypeAdapter(Memory),
    "file": TypeAdapter(FileSaved),
    "result": TypeAdapter(Result),
}
_EVENT, _TRACE = TypeAdapter(StoredEvent), TypeAdapter(Trace)


def restore(
    engine: sa.Engine, settings: Settings, file: BinaryIO, owner_id: str, *, now: float | None = None
) -> tuple[Run, bool]:
    """The archive as a run of ``owner_id``: (the run, whether it is new). The same archive again gives the run of the first
    call. It is in the state that it ended in, and keeps the id that it had elsewhere in ``imported_from``.

    Raises Refused, naming the part of the archive at fault.
    """
    now = time.time() if now is None else now
    with told(), Archive(file, settings.max_archive_bytes) as archive:
        config, facts, curves = archive.checked()
        if earlier := _earlier(engine, owner_id, archive.key):
            return earlier, False
        values = row_values(config, None, now) | _values(facts, now)
        values |= {"owner_id": owner_id, "idempotency_key": archive.key}
        try:
            for each in facts.files:
                _keep(archive, settings, values["id"], each)
            number = _store(engine, archive, values, facts, curves, now)
            if number is None:  # the same archive came at the same time
                settings.blobs.remove_runs([values["id"]])
        except BaseException:
            settings.blobs.remove_runs([values["id"]])
            raise
    run = _earlier(engine, owner_id, values["idempotency_key"])
    assert run is not None
    return run, number is not None


def _earlier(engine: sa.Engine, owner_id: str, key: str) -> Run | None:
    with read(engine) as connection:
        mine = (runs.c.owner_id == owner_id, runs.c.idempotency_key == key)
        return next(
            iter(load(connection, connection.execute(sa.select(runs.c.number).where(*mine)).scalars().all())), None
        )


def _keep(archive: Archive, settings: Settings, run_id: str, file: File) -> None:
    part = settings.artifacts_dir / f".{secrets.token_hex(8)}.part"
    try:
        archive.copy(file.entry, part)
        settings.blobs.move_in(of_run(run_id, 0, path_in_run(file.folder, file.name)), part)
    finally:
        part.unlink(missing_ok=True)


# --- storing -----------------------------------------------------------------------------------------------------------


def _values(facts: Facts, now: float) -> dict[str, Any]:
    """Columns of the run's row."""
    same = (
        "gpus",
        "time_limit_s",
        "memory_asked",
        "memory",
        "memory_held",
        "memory_peak",
        "state",
        "epoch",
        "step",
        "steps",
        "step_time_s",
        "created_at",
        "started_at",
        "finished_at",
    )
    has_checkpoint = any(file.folder == facts.checkpoint for file in facts.files if file.folder)
    return {name: getattr(facts, name) for name in same} | {
        "name": clean(facts.name, 240),
        "reason": clean(facts.reason, 2000),
        "note": clean_lines(facts.note),
        "band": BANDS[facts.priority],
        "pool": clean(facts.pool, 40),
        "checkpoint": facts.checkpoint if has_checkpoint else None,
        "checkpoint_step": facts.checkpoint_step if has_checkpoint else None,
        "result": None if facts.result is None else vars(facts.result),
        "imported_from": {"id": facts.origin, "at": now},
    }


def _store(
    engine: sa.Engine, archive: Archive, values: dict[str, Any], facts: Facts, curves: list[Curve], now: float
) -> int | None:
    """Number of the new run; None where the same archive made one already."""
    with write(engine) as connection:
        once = insert(connection, runs).values(values).on_conflict_do_nothing()
        number: int | None = connection.execute(once.returning(runs.c.number)).scalar()
        if number is None:
            return None
        _store_rows(connection, number, facts)
        if facts.checkout:
            checkouts.attach(connection, number, checkouts.Whole(facts.checkout, archive.diff()))
        last_seq = _store_events(connection, number, archive)
        connection.execute(sa.update(runs).where(runs.c.number == number).values(last_seq=last_seq))
        for lines in _batches(archive.lines(TRACES)):
            traces.append(connection, number, [_TRACE.validate_json(line) for line in lines])
        for place, curve in enumerate(curves):
            _store_curve(connection, number, curve, archive.points(place, curve.points))
        audit.record(
            connection, values["owner_id"], "run.import", values["id"], now, f"{values['name']}, {facts.origin}"
        )
        return number


def _store_rows(connection: sa.Connection, number: int, facts: Facts) -> None:
    tags = dict.fromkeys(clean(tag, 40) for tag in facts.tags)
    tried = [vars(attempt) | {"run": number, "worker_id": ""} for attempt in facts.attempts]
    files = [
        {"id": new_id(), "run": number} | {column: getattr(file, column) for column in File.__dataclass_fields__}
        for file in facts.files
    ]
    known = sa.select(datasets.c.sha256, datasets.c.id).where(datasets.c.sha256.in_(set(facts.datasets.values())))
    ids = {row.sha256: row.id for row in connection.execute(known)}
    used = [
        {"run": number, "name": name[:500], "dataset_id": ids[sha256]}
        for name, sha256 in facts.datasets.items()
        if sha256 in ids  # a dataset that isn't here can be uploaded later; the run has ended and needs none
    ]
    for table, rows in (
        (run_tags, [{"run": number, "tag": tag} for tag in tags]),
        (attempts, tried),
        (artifacts, files),
        (run_datasets, used),
    ):
        if rows:
            connection.execute(sa.insert(table), rows)


def _store_events(connection: sa.Connection, number: int, archive: Archive) -> int:
    """Sequence number of the last."""
    last = 0
    for lines in _batches(archive.lines(EVENTS)):
        rows = []
        for line in lines:
            event = _EVENT.validate_json(line)
            if event.seq != last + 1 or not math.isfinite(event.time) or event.kind not in _TOLD:
                raise refused(
                    EVENTS, f"expected event {last + 1} of a known kind, got {event.kind[:40]!r}, {event.seq}"
                )
            last = event.seq
            rows.append(vars(event) | {"run": number, "data": _checked(event)})
        connection.execute(sa.insert(event_table), rows)
    return last


def _checked(event: StoredEvent) -> dict[str, Any]:
    """The event's data: what its kind has, of the right types, and nothing more."""
    adapter = _TOLD[event.kind]
    known: dict[str, Any] = adapter.dump_python(adapter.validate_python(event.data))
    if "message" in known:
        known["message"] = clean(known["message"], LOG_CHARACTERS)
    return {name: value for name, value in known.items() if name in event.data}  # older events lack newer fields


def _store_curve(connection: sa.Connection, number: int, curve: Curve, arrays: Iterable[Any]) -> None:
    key = clean(curve.key, 120)
    added = sum(metrics.append(connection, number, {key: (p["step"], p["value"])}) for p in arrays)
    if added != curve.points or key != curve.key:
        raise refused(FACTS, f"metric {curve.key[:120]!r}: expected a plain name, and steps that rise")


def _batches(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    rest = iter(lines)
    while batch := list(itertools.islice(rest, BATCH)):
        yield batch
