"""Where runs were submitted from: a git commit and what had been changed since. Runs submitted from the same share one row."""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass, fields
from typing import Annotated

import sqlalchemy as sa
from pydantic import Field

from store.database import read
from store.dialect import insert
from store.errors import NotFound
from store.tables import checkouts, run_checkouts, runs
from store.text import clean

DIFF_BYTES, MOST_NAMES, NAME_LENGTH = 256 * 1024, 200, 300
Commit = Annotated[str, Field(pattern="^([0-9a-f]{40}|[0-9a-f]{64})$")]
Count = Annotated[int, Field(ge=0, le=2**31)]
Name = Annotated[str, Field(max_length=NAME_LENGTH)]


@dataclass(frozen=True)
class Checkout:
    """In short. Files are counted; ``size_bytes`` and ``sha256`` are those of the difference."""

    commit: Commit
    branch: Name  # empty where none was checked out
    remote: Name  # URL, empty where there is none
    changed: Count  # of those that git follows
    untracked: Count
    left_out: Count  # changed, but not in the difference
    size_bytes: Annotated[int, Field(ge=0, le=DIFF_BYTES)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class LeftOut:
    """A changed file that isn't in the difference."""

    path: Name
    why: Name


@dataclass(frozen=True)
class CheckoutDetails(Checkout):
    """With names, of many files the first."""

    untracked_names: Annotated[tuple[Name, ...], Field(max_length=MOST_NAMES)]
    left_out_files: Annotated[tuple[LeftOut, ...], Field(max_length=MOST_NAMES)]


@dataclass(frozen=True)
class Whole:
    """``diff`` is what ``git apply`` takes, in whatever encoding the files are."""

    details: CheckoutDetails
    diff: bytes


# Built once, as runs are submitted by the hundred.
_IS_KEPT = sa.select(checkouts.c.id).where(checkouts.c.id == sa.bindparam("id"))
_IS_KEPT = _IS_KEPT.with_for_update(read=True, key_share=True)  # so that it isn't deleted now
_LINK = sa.insert(run_checkouts)
_OF_RUN = sa.select(run_checkouts.c.checkout).where(run_checkouts.c.run == sa.bindparam("run"))


def attach(connection: sa.Connection, number: int, whole: Whole) -> Checkout:
    """Keeps it with a run that has none."""
    given = whole.details
    cleaned = {"branch": clean(given.branch, NAME_LENGTH), "remote": clean(given.remote, NAME_LENGTH)}
    facts = {each.name: getattr(given, each.name) for each in fields(Checkout)} | cleaned
    names = {
        "untracked": [clean(name, NAME_LENGTH) for name in given.untracked_names],
        "left_out": [[clean(file.path, NAME_LENGTH), clean(file.why, NAME_LENGTH)] for file in given.left_out_files],
    }
    key = hashlib.sha256(json.dumps([facts, names], sort_keys=True).encode()).hexdigest()
    while connection.execute(_IS_KEPT, {"id": key}).scalar() is None:
        row = {"id": key, "facts": facts, "names": names, "diff": zlib.compress(whole.diff)}
        connection.execute(insert(connection, checkouts).values(row).on_conflict_do_nothing())
    connection.execute(_LINK, {"run": number, "checkout": key})
    return Checkout(**facts)


def detach(connection: sa.Connection, number: int) -> None:
    """Of a run that is about to be deleted; with the last that has it, it goes."""
    key = connection.execute(_OF_RUN, {"run": number}).scalar()
    if key is None:
        return
    connection.execute(sa.delete(run_checkouts).where(run_checkouts.c.run == number))
    connection.execute(sa.select(checkouts.c.id).where(checkouts.c.id == key).with_for_update())
    is_used = sa.exists().where(run_checkouts.c.checkout == checkouts.c.id)
    connection.execute(sa.delete(checkouts).where(checkouts.c.id == key, sa.not_(is_used)))


def of_run(engine: sa.Engine, run_id: str) -> Whole:
    """Raises NotFound where the run has none."""
    joined = checkouts.join(run_checkouts).join(runs)
    query = sa.select(checkouts).select_from(joined).where(runs.c.id == run_id)
    with read(engine) as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"run {run_id!r} has no checkout: it wasn't submitted by the client from within a git checkout")
    names = tuple(row.names["untracked"]), tuple(LeftOut(*each) for each in row.names["left_out"])
    details = CheckoutDetails(**row.facts, untracked_names=names[0], left_out_files=names[1])
    return Whole(details, zlib.decompress(row.diff))
