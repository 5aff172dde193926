"""Uploaded puzzle files: checked row by row, named by their content, kept as they came."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import sqlalchemy as sa

from store.settings import Settings


@dataclass(frozen=True)
class Dataset:
    """``id`` comes from the content; ``rows`` puzzles of a ``size`` × ``size`` grid."""

    id: str
    name: str
    owner: str | None
    sha256: str
    rows: int
    size: int
    size_bytes: int
    created_at: float


@dataclass(frozen=True)
class PreviewRow:
    source: str
    question: str
    answer: str
    rating: str


def add(
    engine: sa.Engine,
    settings: Settings,
    name: str,
    stream: BinaryIO,
    owner_id: str | None = None,
    *,
    now: float | None = None,
) -> tuple[Dataset, bool]:
    """Stores a CSV file: (the dataset, whether it is new). The same content again gives the dataset that is there.

    Raises PuzzleFileError (line, field, message) for a broken file, Refused for a bad name or too large a file, Conflict
    when the name belongs to another content. Whatever is raised, nothing is left behind.
    """
    raise NotImplementedError


def list_datasets(engine: sa.Engine) -> list[Dataset]:
    """Newest first."""
    raise NotImplementedError


def get(engine: sa.Engine, name_or_id: str) -> Dataset:
    """Raises NotFound."""
    raise NotImplementedError


def path(settings: Settings, dataset_id: str) -> Path:
    """Where a dataset's file lies."""
    return settings.datasets_dir / f"{dataset_id}.csv"


def preview(engine: sa.Engine, settings: Settings, name_or_id: str, rows: int = 10) -> list[PreviewRow]:
    """The first rows. Raises NotFound."""
    raise NotImplementedError


def delete(engine: sa.Engine, settings: Settings, name_or_id: str) -> None:
    """Raises NotFound, and Conflict while a run names it."""
    raise NotImplementedError
