"""Datasets by their names on the hub, downloaded once and kept in a cache folder.

``owner/name:split`` is the hub's file ``<split>.csv`` of that dataset. Environment: ``LASER_CACHE`` (default
``~/.cache/laser``) and ``LASER_HUB`` (default https://huggingface.co, or a mirror with the same paths).
"""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import os
import re
import secrets
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path

from laser_core.config import ConfigError, CsvTask, Problem, RunConfig, Task

HUB = "https://huggingface.co"
_NAME = re.compile(r"(?P<dataset>[\w-][\w.-]*/[\w-][\w.-]*?):(?P<split>[\w-]+)")
_BARE = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_FILES = (".csv", ".json")  # a name with such an end is a path
_BLOCK_BYTES = 2**20
_TIMEOUT_S = 30


def spelt_out(config: RunConfig) -> RunConfig:
    """The same run, with the split added to hub names that have none: ``:train`` in ``train``, ``:test`` in ``test``."""
    task = config.task
    if not isinstance(task, CsvTask):
        return config
    train, test = (
        f"{name}:{split}" if _is_bare(name) else name for name, split in ((task.train, "train"), (task.test, "test"))
    )
    return dataclasses.replace(config, task=dataclasses.replace(task, train=train, test=test))


def locate(names: Iterable[str], task: Task | None, say: Callable[[str], None]) -> dict[str, Path]:
    """A path for each name: a file's own, or that of the hub's file in the cache, downloaded if it isn't there yet.

    ``say`` is told what takes long. Raises ConfigError naming the field of ``task`` whose dataset can't be had.
    """
    paths: dict[str, Path] = {}
    for name in names:
        field = (
            next((f"task.{field}" for field, value in vars(task).items() if value == name), "task") if task else "task"
        )
        found = None if Path(name).exists() else _NAME.fullmatch(name)
        paths[name] = _fetched(found["dataset"], f"{found['split']}.csv", field, say) if found else Path(name)
    return paths


def _is_bare(name: str) -> bool:
    return bool(_BARE.fullmatch(name)) and not name.endswith(_FILES) and not Path(name).exists()


def _cache() -> Path:
    return Path(os.environ.get("LASER_CACHE") or Path.home() / ".cache" / "laser")


def _fetched(dataset: str, file: str, field: str, say: Callable[[str], None]) -> Path:
    target = _cache() / "hub" / dataset / file
    record = target.with_name(f"{file}.sha256")
    if target.exists():
        if record.exists() and record.read_text().split()[:1] != [_sha256(target)]:
            message = f"{target} is damaged, its sha256 isn't the recorded one; delete it to download it anew"
            raise ConfigError(Problem(field, message))
        return target
    url = f"{(os.environ.get('LASER_HUB') or HUB).rstrip('/')}/datasets/{dataset}/resolve/main/{file}"
    say(f"downloading {url}")
    part = target.with_name(f".{file}.{secrets.token_hex(4)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = _download(url, part)
        record.write_text(f"{digest}  {file}\n")
        part.replace(target)
    except (OSError, ValueError, http.client.HTTPException) as error:
        by_hand = f"download it elsewhere and put it at {target}, or give the path of a file you have"
        raise ConfigError(Problem(field, f"can't download {url}: {_reason(error)}; {by_hand}")) from error
    finally:
        part.unlink(missing_ok=True)
    say(f"kept in {target} (sha256 {digest})")
    return target


def _download(url: str, part: Path) -> str:
    """Writes the url's content to ``part`` and returns its sha256. Raises OSError, ValueError or HTTPException."""
    if not url.startswith(("https://", "http://")):
        raise ValueError("expected LASER_HUB to begin with https:// or http://")
    digest, size = hashlib.sha256(), 0
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response, part.open("xb") as file:
        while block := response.read(_BLOCK_BYTES):
            digest.update(block)
            file.write(block)
            size += len(block)
        announced = response.headers.get("Content-Length")
        file.flush()
        os.fsync(file.fileno())
    if announced is not None and int(announced) != size:
        raise OSError(f"the connection ended after {size} of {announced} bytes")
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the hub answered {error.code} {error.reason}"
    return str(getattr(error, "reason", error))
