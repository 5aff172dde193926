"""What a run measured as tables, every value exact: CSV line by line, Parquet by way of a file that has no name."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, fields
from typing import IO, Any

import numpy as np
from arro3.core import Array, DataType, Field, RecordBatch, RecordBatchReader, Schema, list_array
from arro3.io import write_parquet
from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from api.context import Config, Engine
from api.metrics import Keys, names
from api.problems import RESPONSES
from laser_core.events import Trace
from store import metrics, traces
from store.settings import Settings

router = APIRouter(prefix="/runs/{run_id}", tags=["exports"], responses=RESPONSES)

CSV, PARQUET = "text/csv; charset=utf-8", "application/vnd.apache.parquet"
CSV_LINES = 2000  # in one piece
PARQUET_ROWS = 2**17  # of one row group: what is held in memory
READ_BYTES = 2**18

_FLOATS = DataType.list(Field("item", DataType.float32(), nullable=False))
_TYPES = {"str": DataType.string(), "int": DataType.int64(), "float": DataType.float64(), "tuple[float, ...]": _FLOATS}


def _schema(**types: DataType) -> Schema:
    return Schema([Field(name, kind, nullable=False) for name, kind in types.items()])


METRICS = _schema(key=DataType.string(), step=DataType.int64(), value=DataType.float64())
TRACES = _schema(**{field.name: _TYPES.get(str(field.type), DataType.string()) for field in fields(Trace)})


def _table(media_type: str, columns: str) -> dict[str, Any]:
    """How the schema tells of a route that answers with a file."""
    said = {"content": {media_type.partition(";")[0]: {"schema": {"type": "string"}}}, "description": columns}
    return {"response_class": StreamingResponse, "responses": {200: said}}


@router.get("/metrics.csv", summary="Every point as CSV", **_table(CSV, "key,step,value"))
def metrics_csv(run_id: str, engine: Engine, keys: Keys = "") -> StreamingResponse:
    points = metrics.iter_points(engine, run_id, names(keys))
    return _file(_csv(METRICS.names, points), f"{run_id}-metrics.csv", CSV)


@router.get("/metrics.parquet", summary="Every point as Parquet", **_table(PARQUET, "key, step, value"))
def metrics_parquet(run_id: str, engine: Engine, settings: Config, keys: Keys = "") -> StreamingResponse:
    batches = map(_metrics_batch, metrics.iter_arrays(engine, run_id, names(keys)))
    return _file(_parquet(METRICS, batches, settings), f"{run_id}-metrics.parquet", PARQUET)


@router.get("/traces.csv", summary="Every update of every tracked basis as CSV", **_table(CSV, ",".join(TRACES.names)))
def traces_csv(run_id: str, engine: Engine) -> StreamingResponse:
    """Energies and fidelities have blanks between."""
    updates = traces.iter_updates(engine, run_id)
    rows = ([_text(value) for value in astuple(update)] for update in updates)
    return _file(_csv(TRACES.names, rows), f"{run_id}-traces.csv", CSV)


@router.get(
    "/traces.parquet",
    summary="Every update of every tracked basis as Parquet",
    **_table(PARQUET, ", ".join(TRACES.names)),
)
def traces_parquet(run_id: str, engine: Engine, settings: Config) -> StreamingResponse:
    updates = traces.iter_updates(engine, run_id)
    return _file(_parquet(TRACES, _traces_batches(updates), settings), f"{run_id}-traces.parquet", PARQUET)


def _file(pieces: Iterator[Any], name: str, media_type: str) -> StreamingResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(pieces, media_type=media_type, headers=headers)


# --- CSV ---------------------------------------------------------------------------------------------------------------


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Floats as ``repr`` has them: the shortest text that reads back equal."""
    lines = itertools.chain([columns], rows)
    while piece := list(itertools.islice(lines, CSV_LINES)):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(piece)
        yield text.getvalue()


def _text(value: Any) -> Any:
    return " ".join(map(repr, value)) if isinstance(value, tuple) else value


# --- Parquet -----------------------------------------------------------------------------------------------------------


def _parquet(schema: Schema, batches: Iterator[RecordBatch], settings: Settings) -> Iterator[bytes]:
    """The file in pieces; it is whole before the first, so that an error is still an answer of its own."""
    with contextlib.ExitStack() as on_error:
        file = on_error.enter_context(tempfile.TemporaryFile(dir=settings.home))
        reader = RecordBatchReader.from_batches(schema, batches)
        write_parquet(reader, file, compression="zstd(1)", max_row_group_size=PARQUET_ROWS)
        on_error.pop_all()
    return _pieces(file)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while piece := file.read(READ_BYTES):
            yield piece


def _metrics_batch(points: tuple[str, Any, Any]) -> RecordBatch:
    key, steps, values = points
    names = Array([key] * len(steps), DataType.string())
    return RecordBatch.from_arrays([names, Array.from_numpy(steps), Array.from_numpy(values)], schema=METRICS)


def _traces_batches(updates: Iterator[Trace]) -> Iterator[RecordBatch]:
    while some := list(itertools.islice(updates, traces.PAGE)):
        columns = zip(*(astuple(update) for update in some), strict=True)
        arrays = [_array(column, TRACES.field(place)) for place, column in enumerate(columns)]
        yield RecordBatch.from_arrays(arrays, schema=TRACES)


def _array(column: Sequence[Any], field: Field) -> Array:
    if field.type != _FLOATS:
        return Array(column, field.type)
    offsets = np.cumsum([0, *map(len, column)], dtype=np.int32)
    return list_array(offsets, np.array(list(itertools.chain(*column)), np.float32), type=field)
