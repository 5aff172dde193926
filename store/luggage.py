"""What an attempt at a run needs on the machine that carries it out, and where that lies there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from store.artifacts import blob_of, files_of, path_in_run
from store.blobs import Blob, of_dataset
from store.settings import Settings
from store.tables import datasets, run_datasets, runs


@dataclass(frozen=True)
class Item:
    """A file to bring to ``target`` first."""

    blob: Blob
    sha256: str
    target: Path


@dataclass(frozen=True)
class Luggage:
    """``items`` are empty where files are kept in folders, as everything is in its place already."""

    directory: Path  # of what the attempt saves
    lock: Path  # folder of the run's lock: two attempts must not train it side by side
    files: dict[str, Path]  # datasets by the name that the configuration gives them
    source_checkpoint: Path | None  # for eval, analysis and inspection: the training run's checkpoint folder
    items: tuple[Item, ...]


def pack(connection: sa.Connection, settings: Settings, row: sa.Row[Any], epoch: int) -> Luggage:
    """For attempt ``epoch`` at the run of ``row``: its own checkpoints, those that it looks at, its datasets."""
    directory = settings.blobs.directory(row.id, epoch)
    if settings.blobs.is_here:
        inputs, source_in = settings.datasets_dir, settings.artifacts_dir
    else:
        inputs, source_in = directory / "datasets", directory / "source"
    used = sa.select(run_datasets.c.name, datasets.c.id, datasets.c.sha256).join(datasets)
    found = connection.execute(used.where(run_datasets.c.run == row.number)).all()
    files = {each.name: inputs / f"{each.id}.csv" for each in found}
    source_checkpoint, of_source = None, directory
    if row.source is not None:
        source = connection.execute(sa.select(runs.c.id, runs.c.checkpoint).where(runs.c.number == row.source)).one()
        of_source = source_in / source.id
        source_checkpoint = of_source / "checkpoints" / source.checkpoint
    if settings.blobs.is_here:
        return Luggage(directory, directory, files, source_checkpoint, ())
    items = [Item(of_dataset(each.id), each.sha256, files[each.name]) for each in found]
    items += _checkpoints(connection, row.number, directory) + _checkpoints(connection, row.source, of_source)
    return Luggage(directory, settings.locks_dir / row.id, files, source_checkpoint, tuple(items))


def _checkpoints(connection: sa.Connection, number: int | None, directory: Path) -> list[Item]:
    found = [row for row in files_of(connection, runs.c.number == number) if row.folder]
    return [Item(blob_of(row), row.sha256, directory / path_in_run(row.folder, row.name)) for row in found]
