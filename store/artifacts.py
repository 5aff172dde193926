"""Files that runs leave behind, found by id and resolved under one root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from store.settings import Settings


@dataclass(frozen=True)
class Artifact:
    """One file of a checkpoint (``folder`` is the checkpoint's name); ``size_bytes`` is None when it is gone from disk."""

    id: str
    run_id: str
    kind: str
    folder: str
    name: str
    step: int
    sha256: str
    size_bytes: int | None
    created_at: float


def run_directory(settings: Settings, run_id: str) -> Path:
    """Folder of everything that a run leaves behind."""
    return settings.artifacts_dir / run_id


def list_artifacts(engine: sa.Engine, settings: Settings, run_id: str) -> list[Artifact]:
    """Newest checkpoint first. Raises NotFound for the run."""
    raise NotImplementedError


def get(engine: sa.Engine, settings: Settings, artifact_id: str) -> tuple[Artifact, Path]:
    """The artifact and its file. Raises NotFound when either is missing or the file lies outside ``artifacts_dir``."""
    raise NotImplementedError
