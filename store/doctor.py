"""``python -m store.doctor``: what the platform needs of this machine, found or not, as JSON.

Nothing is changed; object storage gets a small file and loses it again.
One finding for each thing: what was found, and what to do where that isn't enough.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import io
import json
import os
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import sqlalchemy as sa
from pydantic import ValidationError

from store import broker, database, dialect, users, workers
from store.blobs import Blob, Blobs, Bucket
from store.errors import StoreError, Unreachable
from store.settings import MIB, Settings

BROKER_TIMEOUT_S = 2.0
LITTLE_MIB = 10 * 1024  # a warning; below Settings.min_free_mib workers take nothing
MOST_SKEW_S = 2.0

Status = Literal["ok", "warning", "failed"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """``advice`` is empty where nothing needs to be done. A warning doesn't keep the platform from working."""

    name: str
    status: Status
    found: str
    advice: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Everything, in the order in which it should be put right."""
    return [
        *_home(settings),
        *_room(settings),
        *_storage(settings.blobs),
        *_database(settings),
        _broker(settings.broker_url),
        _web(settings.web_dir),
    ]


def _home(settings: Settings) -> Iterator[Finding]:
    home = settings.home
    if not home.exists():
        yield Finding("home", "warning", f"{home} isn't there yet", "`laser up` makes it, or set LASER_HOME")
        return
    yield _private("home", home, 0o700)
    if settings.token_file.exists():
        yield _private("token", settings.token_file, 0o600)


def _private(name: str, path: Path, mode: int) -> Finding:
    found = path.stat()
    if found.st_uid != os.geteuid():
        advice = f"run the platform as that user, or: chown -R {os.geteuid()} {path}"
        return Finding(name, "failed", f"{path} belongs to user {found.st_uid}, this is user {os.geteuid()}", advice)
    shown = f"{path}, mode {stat.S_IMODE(found.st_mode):04o}"
    if found.st_mode & 0o077:
        return Finding(name, "failed", f"{shown}: others may read it", f"chmod {mode:o} {path}")
    return Finding(name, "ok", shown)


def _room(settings: Settings) -> Iterator[Finding]:
    """Of each disk once."""
    seen: set[int] = set()
    for name, folder in (("artifacts", settings.artifacts_dir), ("spool", settings.spool_dir)):
        place = next(path for path in (folder, *folder.parents) if path.exists())
        if place.stat().st_dev in seen:
            continue
        seen.add(place.stat().st_dev)
        free = shutil.disk_usage(place).free / MIB
        status: Status = "failed" if free < settings.min_free_mib else "warning" if free < LITTLE_MIB else "ok"
        least = f"; workers take runs with at least {settings.min_free_mib} MiB free" if status == "failed" else ""
        advice = "" if status == "ok" else f"delete runs, or move LASER_HOME to a larger disk{least}"
        yield Finding(f"disk for {name}", status, f"{free / 1024:.1f} GiB free at {place}", advice)
        if not os.access(place, os.W_OK):
            yield Finding(name, "failed", f"{place} can't be written", "let the platform's user write there")


_ADVICE = {
    "NoSuchBucket": "make the bucket, or set LASER_ARTIFACTS_URL right",
    "InvalidAccessKeyId": "set AWS_ACCESS_KEY_ID, or make this key known there",
    "SignatureDoesNotMatch": "set AWS_SECRET_ACCESS_KEY",
    "AccessDenied": "let this key read, write, list and delete below the prefix",
}


def _storage(blobs: Blobs) -> Iterator[Finding]:
    """By a small file that is written, read, listed and deleted."""
    if not isinstance(blobs, Bucket):
        return
    probe = Blob("", f"doctor/{secrets.token_hex(8)}")
    try:
        blobs.put(probe, io.BytesIO(probe.key.encode()))
        came_back = b"".join(blobs.read(probe)) == probe.key.encode() and probe.key in dict(blobs.list("doctor"))
        blobs.remove(probe)
    except StoreError as error:
        code = error.code if isinstance(error, Unreachable) else ""
        otherwise = "start it, or set AWS_ENDPOINT_URL and AWS_REGION; meanwhile training goes on, and files wait"
        yield Finding("object storage", "failed", str(error), _ADVICE.get(code, otherwise))
        return
    if came_back:
        yield Finding("object storage", "ok", f"{blobs.url}: a file was written, read, listed and deleted")
    else:
        advice = "it must show what was written at once, as S3 does"
        yield Finding("object storage", "failed", f"{blobs.url} lost what was just written", advice)


def _database(settings: Settings) -> Iterator[Finding]:
    url = sa.make_url(settings.database_url)
    is_file = url.get_backend_name() == "sqlite"
    if is_file and not Path(url.database or "").exists():
        yield Finding("database", "warning", f"{url.database} isn't there yet", "`laser up` makes it")
        yield from _bind(settings, None)
        return
    try:
        engine = database.connect(settings.database_url)
        with database.read(engine) as connection:
            yield Finding("database", "ok", f"{url!r}, {dialect.server(connection)}")
            for problem, advice in dialect.durability_problems(connection):
                yield Finding("durability", "warning", problem, advice)
        yield (schema := _schema(engine))
        yield from _clock(engine)
        if schema.status == "ok":
            yield from _workers(engine, settings)
        yield from _bind(settings, engine if schema.status == "ok" else None)
        engine.dispose()
    except ValueError as error:
        yield Finding("database", "failed", str(error), "set LASER_DATABASE_URL as it says")
    except sa.exc.SQLAlchemyError as error:
        cause = str(error.__cause__ or error).splitlines()[0]
        advice = "start it, or set LASER_DATABASE_URL (PGPASSWORD for its password)"
        yield Finding("database", "failed", f"{url!r} doesn't answer: {cause}", advice)


def _schema(engine: sa.Engine) -> Finding:
    found, needed = database.version(engine), database.head()
    if found == needed:
        return Finding("schema", "ok", needed)
    if found is not None and found not in database.revisions():
        return Finding("schema", "failed", f"{found}, newer than {needed}", "install the laser-lab that made it")
    advice = "`laser backup FILE`, then start the API of this version: it migrates"
    return Finding("schema", "failed", f"{found or 'none'}, this version needs {needed}", advice)


def _clock(engine: sa.Engine) -> Iterator[Finding]:
    """Leases compare the clocks of several machines."""
    with database.read(engine) as connection:
        dialect.now(connection)  # opens the connection, which would count
        began = time.time()
        there = dialect.now(connection)
        ahead_s = there - (began + time.time()) / 2
    if abs(ahead_s) <= MOST_SKEW_S:
        yield Finding("clock", "ok", f"{ahead_s:+.2f} s against the database")
        return
    advice = "set both clocks by NTP (timedatectl set-ntp true): leases end too early or too late"
    yield Finding("clock", "failed", f"the database's clock is {ahead_s:+.1f} s from this one", advice)


def _workers(engine: sa.Engine, settings: Settings) -> Iterator[Finding]:
    known = workers.list_workers(engine, settings.lease_s)
    alive = [worker for worker in known if worker.alive]
    if not alive:
        yield Finding(
            "workers", "warning", "none alive", "start one: `laser up`, or the worker service (docs/deploy.md)"
        )
        return
    slots = sum(worker.slots for worker in alive)
    yield Finding("workers", "ok", f"{len(alive)} alive, {slots} slots: {', '.join(w.id for w in alive)}")
    mine = importlib.metadata.version("laser-lab")
    for worker in alive:
        if worker.version != mine:
            found = f"{worker.id} runs {worker.version}, here is {mine}"
            yield Finding("worker version", "failed", found, "run the same laser-lab everywhere")
        if worker.unable:
            found = f"{worker.id} takes nothing: {worker.unable}"
            yield Finding("worker", "warning", found, "make room there, or mend the folder")
        if worker.seen_at > time.time() + MOST_SKEW_S:
            found = f"{worker.id} was seen in the future"
            yield Finding("worker clock", "failed", found, f"set the clock of {worker.host} by NTP")


def _bind(settings: Settings, engine: sa.Engine | None) -> Iterator[Finding]:
    if settings.is_local:
        yield Finding(
            "address", "ok", f"LASER_HOST and LASER_PORT are {settings.host}:{settings.port}: this machine alone"
        )
        return
    if engine is None or not users.others_exist(engine):
        found = f"{settings.host}: beyond loopback, and no user but the local one"
        yield Finding("address", "failed", found, "python -m store.admin NAME makes the first admin")
    elif not settings.host_names:
        found = f"{settings.host}: no name by which browsers may know the service"
        yield Finding("address", "failed", found, 'set LASER_ALLOWED_HOSTS, such as "lab.example 10.0.0.7"')
    else:
        yield Finding("address", "ok", f"{settings.host}:{settings.port} as {', '.join(sorted(settings.host_names))}")


def _broker(url: str) -> Finding:
    if not url:
        return Finding("broker", "ok", "none set: `laser up` starts its own")
    bell = broker.producer("doctor", url, BROKER_TIMEOUT_S)
    found = broker.check(bell)
    bell.close()
    if found == "ok":
        return Finding("broker", "ok", f"{bell.connection().as_uri()} answers")
    advice = "start it, or set LASER_BROKER_URL; runs start within LASER_RECONCILE_S of its return"
    return Finding("broker", "failed", found, advice)


def _web(folder: Path) -> Finding:
    if (folder / "index.html").is_file():
        return Finding("web UI", "ok", str(folder))
    return Finding("web UI", "warning", f"not built in {folder}", "make web")


def main() -> None:
    try:
        found = examine(Settings())
    except ValidationError as error:
        found = [
            Finding(
                f"LASER_{'.'.join(map(str, e['loc'])).upper()}", "failed", f"{e['input']!r}: {e['msg']}", "set it right"
            )
            for e in error.errors()
        ]
    sys.stdout.write(json.dumps([dataclasses.asdict(finding) for finding in found]) + "\n")


if __name__ == "__main__":
    main()
