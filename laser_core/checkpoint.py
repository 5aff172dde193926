"""Checkpoints on disk: a folder per step, whole or absent, checked by hash, free of pickle.

``<parent>/step-00000200/`` holds ``model.safetensors`` (weights under ``raw.`` and ``ema.``), ``training.safetensors``
(everything else that is a tensor), ``state.json`` and ``manifest.json`` (size and sha256 of the others). A folder is
written under another name, flushed to disk and renamed, so that a kill at any moment leaves the earlier ones as they were.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from laser_core.config import ConfigError, Problem
from laser_core.events import CheckpointSaved, Snapshot

FORMAT = 1
_FILES = ("model.safetensors", "training.safetensors", "state.json")
_UNFINISHED = ".unfinished"


class CheckpointError(ValueError):
    """A checkpoint folder that can't be used, and why."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory; fields as in events.Snapshot. Tensors are on the CPU."""

    step: int
    model: dict[str, Tensor]
    training: dict[str, Tensor]
    state: dict[str, Any]


def save(snapshot: Snapshot, parent: Path, keep: int = 2) -> CheckpointSaved:
    """Writes ``snapshot`` under ``parent`` and deletes all but the newest ``keep`` checkpoints.

    Raises OSError (disk full, no permission) with the earlier checkpoints untouched.
    """
    parent.mkdir(parents=True, exist_ok=True)
    final = parent / f"step-{snapshot.step:08d}"
    unfinished = final.with_name(final.name + _UNFINISHED)
    for leftover in parent.glob(f"*{_UNFINISHED}"):  # of an attempt that was killed while saving
        shutil.rmtree(leftover)
    try:
        hashes, size_bytes = _write_files(snapshot, unfinished)
        if final.exists():  # of an attempt that went on past the checkpoint it was resumed from
            shutil.rmtree(final)
        unfinished.rename(final)
    except OSError:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    _flush_folder(parent)
    for old in _newest_first(parent)[keep:]:
        shutil.rmtree(old)
    return CheckpointSaved(snapshot.step, final.name, hashes, size_bytes)


def load(folder: Path) -> Checkpoint:
    """Reads a checkpoint whose every hash agrees with its manifest. Raises CheckpointError for any other."""
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        contents = {name: (folder / name).read_bytes() for name in _FILES}
        for name, content in contents.items():
            if hashlib.sha256(content).hexdigest() != manifest["files"][name]["sha256"]:
                raise CheckpointError(f"{folder / name}: damaged, its sha256 isn't the manifest's")
        if manifest["format"] != FORMAT:
            raise CheckpointError(f"{folder}: expected checkpoint format {FORMAT}, got {manifest['format']}")
        model, training = (safetensors.torch.load(contents[name]) for name in _FILES[:2])
        return Checkpoint(manifest["step"], model, training, json.loads(contents["state.json"]))
    except (
        OSError,
        KeyError,
        TypeError,
        UnicodeDecodeError,
        json.JSONDecodeError,
        safetensors.SafetensorError,
    ) as error:
        raise CheckpointError(f"{folder}: not a complete checkpoint ({error})") from error


def latest(parent: Path, up_to: str | None = None) -> Checkpoint | None:
    """The newest checkpoint under ``parent`` that is whole, no newer than the folder name ``up_to``; None without any."""
    for folder in _newest_first(parent):
        if up_to is None or folder.name <= up_to:
            try:
                return load(folder)
            except CheckpointError:
                continue
    return None


def model_sha256(model: Mapping[str, Tensor]) -> str:
    """sha256 (hex) of the ``model.safetensors`` that ``save`` writes."""
    return hashlib.sha256(_packed(model)).hexdigest()


def _newest_first(parent: Path) -> list[Path]:
    names = (path for path in parent.glob("step-*") if path.is_dir() and not path.name.endswith(_UNFINISHED))
    return sorted(names, reverse=True)


def _write_files(snapshot: Snapshot, folder: Path) -> tuple[dict[str, str], int]:
    folder.mkdir()
    files: dict[str, dict[str, Any]] = {}
    for name, content in _contents(snapshot):
        _write(folder / name, content)
        files[name] = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    manifest = _json({"format": FORMAT, "step": snapshot.step, "files": files})
    _write(folder / "manifest.json", manifest)
    _flush_folder(folder)
    hashes = {name: file["sha256"] for name, file in files.items()}
    size_bytes = sum(file["size_bytes"] for file in files.values()) + len(manifest)
    return hashes | {"manifest.json": hashlib.sha256(manifest).hexdigest()}, size_bytes


def _contents(snapshot: Snapshot) -> Iterator[tuple[str, bytes]]:
    yield "model.safetensors", _packed(snapshot.model)
    yield "training.safetensors", _packed(snapshot.training)
    yield "state.json", _json(snapshot.state)


def _packed(tensors: Mapping[str, Tensor]) -> bytes:
    # safetensors refuses tensors that share storage, as slices and expanded ones do: each gets its own.
    own, storages = {}, set()
    for name, x in tensors.items():
        storage = x.untyped_storage()
        is_alone = x.is_contiguous() and storage.nbytes() == x.nbytes and storage.data_ptr() not in storages
        storages.add(storage.data_ptr())
        own[name] = x.detach().cpu() if is_alone else x.detach().cpu().clone(memory_format=torch.contiguous_format)
    return safetensors.torch.save(own)


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, allow_nan=False).encode()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Makes the folder's entries (a rename too) outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_same(trained: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raises ConfigError for settings that aren't the checkpoint's; only name, tags and device may differ."""
    was, now = _flat(trained), _flat(wanted)
    problems = [
        Problem(
            field,
            f"the checkpoint was trained with {was.get(field)}, not {now.get(field)}; start anew for other settings",
        )
        for field in sorted(was.keys() | now.keys())
        if was.get(field) != now.get(field) and field.split(".")[0] not in ("name", "tags", "device")
    ]
    if problems:
        raise ConfigError(*problems)


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {path: value}
    return {k: v for name, item in value.items() for k, v in _flat(item, f"{path}.{name}" if path else name).items()}
