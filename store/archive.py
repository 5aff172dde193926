"""A run as one zip file, written piece by piece (docs/decisions/0008-archive.md); ``store.restore`` reads it.

``config.json``, ``run.json`` (Facts), ``events.jsonl``, ``traces.jsonl``, ``metrics.json`` (Curves, in order) with
``metrics/0000.npy`` and so on (numpy's format, steps and values as one array of POINT), ``checkout.diff`` where the run has a
checkout, ``files/…`` as the run left them, and last ``manifest.json`` with size and sha256 of all others. Users, workers and
paths are left out (what the run itself said is kept as it is), and the same run gives the same bytes again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.lib.format as npy
import sqlalchemy as sa
from pydantic import Field

from laser_core.events import Result
from laser_core.events import to_json as event_json
from store import artifacts, checkouts, events, metrics, traces
from store.blobs import Blob
from store.database import read
from store.errors import Conflict
from store.notes import MOST_TAGS, NOTE_LENGTH, TAG_LENGTH
from store.policy import Priority
from store.requests import MOST_GPUS
from store.runs import Run, get_run, number_of
from store.settings import Settings
from store.states import FINAL
from store.tables import attempts, datasets, run_datasets, series

FORMAT = 1
CONFIG, FACTS, EVENTS, TRACES, CURVES, CHECKOUT, MANIFEST = (
    "config.json",
    "run.json",
    "events.jsonl",
    "traces.jsonl",
    "metrics.json",
    "checkout.diff",
    "manifest.json",
)
POINT = np.dtype([("step", "<i8"), ("value", "<f8")])
READ_BYTES = 2**20

Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,119}$")]


@dataclass(frozen=True)
class Entry:
    """One file of the archive, as its manifest lists it."""

    sha256: Sha256
    size_bytes: Count


@dataclass(frozen=True)
class Curve:
    """One metric; the one at place i of ``metrics.json`` lies in ``curve_name(i)``."""

    key: Annotated[str, Field(min_length=1, max_length=120)]
    points: Count


@dataclass(frozen=True)
class File:
    """One artifact; ``folder`` is the checkpoint's, and empty for a report."""

    kind: Literal["checkpoint", "report"]
    folder: FileName | Literal[""]
    name: FileName
    step: Count
    sha256: Sha256
    created_at: Finite

    @property
    def entry(self) -> str:
        return f"files/checkpoints/{self.folder}/{self.name}" if self.kind == "checkpoint" else f"files/{self.name}"


@dataclass(frozen=True)
class Attempt:
    epoch: Count
    started_at: Finite
    ended_at: Finite | None
    outcome: str | None


@dataclass(frozen=True)
class Facts:
    """What the platform knows of the run beside its configuration. ``datasets`` are sha256 by the configuration's names."""

    format: Literal[1]
    origin: Annotated[str, Field(pattern=r"^r_[a-z2-7]{12}$")]  # the run's id where it was first
    name: Annotated[str, Field(max_length=240)]
    tags: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=TAG_LENGTH)], ...], Field(max_length=MOST_TAGS)]
    note: Annotated[str, Field(max_length=NOTE_LENGTH)]
    priority: Priority
    pool: Annotated[str, Field(max_length=40)]
    time_limit_s: Finite | None
    memory_asked: Count | None
    memory: Count
    memory_held: Count | None
    memory_peak: Count | None
    state: Literal["succeeded", "failed", "cancelled"]
    reason: Annotated[str, Field(max_length=8000)]
    epoch: Count
    step: Count
    steps: Count
    step_time_s: float | None
    checkpoint: str | None
    checkpoint_step: Count | None
    created_at: Finite
    started_at: Finite | None
    finished_at: Finite | None
    result: Result | None
    attempts: tuple[Attempt, ...]
    datasets: dict[str, Sha256]
    files: tuple[File, ...]
    checkout: checkouts.CheckoutDetails | None = None  # archives of before there were any have none
    gpus: Annotated[int, Field(ge=1, le=MOST_GPUS)] = 1


def write(engine: sa.Engine, settings: Settings, run_id: str) -> Iterator[bytes]:
    """The archive of a run that has ended, in pieces. Files that are gone are left out.

    Raises NotFound, and Conflict for a run that hasn't ended.
    """
    run = get_run(engine, run_id)
    if run.state not in FINAL:
        raise Conflict(f"run {run_id} is {run.state}; only a run that has ended can be put into an archive")
    found = [a for a in artifacts.list_artifacts(engine, settings, run_id) if a.size_bytes is not None]
    files = tuple(File(a.kind, a.folder, a.name, a.step, a.sha256, a.created_at) for a in found)  # type: ignore[arg-type]
    blobs = [artifacts.get(engine, settings, a.id)[1] for a in found]
    checkout = checkouts.of_run(engine, run_id) if run.checkout else None
    facts = _facts(engine, run, files, checkout)
    return _write(engine, settings, run, facts, dict(zip(files, blobs, strict=True)), checkout)


def curve_name(place: int) -> str:
    """Entry of a curve's points."""
    return f"metrics/{place:04}.npy"


def _facts(engine: sa.Engine, run: Run, files: tuple[File, ...], checkout: checkouts.Whole | None) -> Facts:
    same = {name: getattr(run, name) for name in Facts.__dataclass_fields__ if hasattr(run, name)}
    with read(engine) as connection:
        number = number_of(connection, run.id)
        tried = sa.select(attempts).where(attempts.c.run == number).order_by(attempts.c.epoch)
        used = sa.select(run_datasets.c.name, datasets.c.sha256).join(datasets).where(run_datasets.c.run == number)
        same |= {
            "attempts": tuple(
                Attempt(row.epoch, row.started_at, row.ended_at, row.outcome) for row in connection.execute(tried)
            ),
            "datasets": {row.name: row.sha256 for row in connection.execute(used.order_by(run_datasets.c.name))},
            "checkout": checkout and checkout.details,
        }
    result = Result(**run.result) if run.result else None
    origin = (run.imported_from or {}).get("id", run.id)
    return Facts(**same | {"format": FORMAT, "origin": origin, "result": result, "files": files})


# --- the zip file ------------------------------------------------------------------------------------------------------


class _Sink(io.RawIOBase):
    """Where the zip file is written: a list of pieces to take away."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken = b"".join(self.pieces)
        self.pieces.clear()
        return taken


class _Archive:
    """A growing zip file; every step yields the bytes that are ready."""

    def __init__(self) -> None:
        self.sink = _Sink()
        self.zip = zipfile.ZipFile(self.sink, "w")
        self.entries: dict[str, Entry] = {}

    def add(self, name: str, pieces: Iterable[bytes], method: int = zipfile.ZIP_DEFLATED) -> Iterator[bytes]:
        info = zipfile.ZipInfo(name)  # of 1980: the same run gives the same bytes
        info.compress_type = method
        digest, size = hashlib.sha256(), 0
        with self.zip.open(info, "w", force_zip64=True) as entry:
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                entry.write(piece)
                yield self.sink.take()
        self.entries[name] = Entry(digest.hexdigest(), size)

    def add_json(self, name: str, value: Any) -> Iterator[bytes]:
        return self.add(name, [json.dumps(value, indent=1, sort_keys=True).encode()])

    def end(self) -> Iterator[bytes]:
        yield from self.add_json(MANIFEST, {name: dataclasses.asdict(entry) for name, entry in self.entries.items()})
        self.zip.close()
        yield self.sink.take()


def _write(
    engine: sa.Engine,
    settings: Settings,
    run: Run,
    facts: Facts,
    files: dict[File, Blob],
    checkout: checkouts.Whole | None,
) -> Iterator[bytes]:
    archive = _Archive()
    yield from archive.add_json(CONFIG, run.config)
    yield from archive.add_json(FACTS, dataclasses.asdict(facts))
    yield from archive.add(EVENTS, _lines(_events(engine, run.id)))
    yield from archive.add(TRACES, _lines(event_json(trace) for trace in traces.iter_updates(engine, run.id)))
    with read(engine) as connection:
        query = sa.select(series.c.key, series.c.points).where(series.c.run == run.number).order_by(series.c.key)
        curves = [Curve(row.key, row.points) for row in connection.execute(query)]
    yield from archive.add_json(CURVES, [dataclasses.asdict(curve) for curve in curves])
    for place, curve in enumerate(curves):
        yield from archive.add(curve_name(place), _npy(curve, metrics.iter_arrays(engine, run.id, [curve.key])))
    if checkout:
        yield from archive.add(CHECKOUT, [checkout.diff])
    for file, blob in files.items():
        yield from archive.add(file.entry, settings.blobs.read(blob), zipfile.ZIP_STORED)  # weights don't get smaller
    yield from archive.end()


def _events(engine: sa.Engine, run_id: str) -> Iterator[dict[str, Any]]:
    last = 0
    while found := events.after(engine, run_id, last):
        yield from (dataclasses.asdict(event) for event in found)
        last = found[-1].seq


def _lines(values: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    return (json.dumps(value, separators=(",", ":")).encode() + b"\n" for value in values)


def _npy(curve: Curve, arrays: Iterable[tuple[str, Any, Any]]) -> Iterator[bytes]:
    header = io.BytesIO()
    description = {"descr": npy.dtype_to_descr(POINT), "fortran_order": False, "shape": (curve.points,)}
    npy.write_array_header_1_0(header, description)
    yield header.getvalue()
    for _, steps, values in arrays:
        points = np.empty(len(steps), POINT)
        points["step"], points["value"] = steps, values
        yield points.tobytes()
