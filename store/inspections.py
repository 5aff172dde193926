"""Inspections of checkpoints: what each depends on, so that the same question is answered once."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import sqlalchemy as sa

from laser_core.config import InspectConfig, RunConfig
from laser_core.inspection import FORMAT
from laser_core.puzzle_text import plain, size_of
from laser_core.schema import Problem, to_json
from store.errors import Refused
from store.states import FINAL, State
from store.tables import artifacts, runs

_WEIGHTS = ("model.safetensors", "training.safetensors")  # the second holds the tracked bases
_NO_MATTER = ("name", "tags", "checkpoint")


def content_of(
    connection: sa.Connection, config: RunConfig, source: sa.Row[Any] | None, inputs: list[dict[str, str]]
) -> str | None:
    """sha256 (hex) of everything that an inspection's answer depends on: the checkpoint's files, how its model was made,
    datasets, the puzzle and the settings. None for other kinds of run, and while the training run may still write
    checkpoints. Raises Refused for a puzzle of another size than the training run's."""
    if not isinstance(config, InspectConfig) or source is None:
        return None
    _check_size(config, source)
    if State(source.state) not in FINAL:
        return None
    files = sa.select(artifacts.c.name, artifacts.c.sha256).where(
        artifacts.c.run == source.number, artifacts.c.folder == source.checkpoint, artifacts.c.name.in_(_WEIGHTS)
    )
    asked = {name: value for name, value in to_json(config).items() if name not in _NO_MATTER}
    whole = {
        "format": FORMAT,
        "files": sorted(map(list, connection.execute(files))),
        "trained": {name: source.config[name] for name in ("task", "model")},
        "inputs": sorted(i["dataset_id"] for i in inputs),
        "asked": asked | {"puzzle": plain(config.puzzle)},
    }
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def number_with(connection: sa.Connection, content: str, owned: sa.ColumnElement[bool]) -> int | None:
    """The newest run with this content among ``owned`` ones that gave or will give an answer; None without any."""
    lost = (State.failed, State.cancelling, State.cancelled)
    query = sa.select(sa.func.max(runs.c.number)).where(runs.c.content == content, runs.c.state.not_in(lost), owned)
    return connection.execute(query).scalar()


def _check_size(config: InspectConfig, source: sa.Row[Any]) -> None:
    """What a task of files holds only the run itself can tell."""
    asked, learnt = size_of(plain(config.puzzle)), source.config["task"].get("size")
    if config.puzzle and source.config["task"]["kind"] in ("sudoku", "maze") and asked != learnt:
        message = f"is {asked}×{asked}, but run {source.id} was trained on {learnt}×{learnt}"
        raise Refused(Problem("puzzle", message))
