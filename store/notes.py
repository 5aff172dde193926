"""What people add to a run: tags and a note in Markdown."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from laser_core.schema import Problem
from store.database import write
from store.errors import Refused
from store.runs import Run, load, lock
from store.tables import run_tags, runs
from store.text import clean, clean_lines

MOST_TAGS = 16
TAG_LENGTH = 40
NOTE_LENGTH = 20_000


def change(
    engine: sa.Engine,
    run_id: str,
    add_tags: Sequence[str] = (),
    remove_tags: Sequence[str] = (),
    note: str | None = None,
    *,
    now: float | None = None,
) -> Run:
    """The run with tags added and removed, and with another note unless that is None. What is so already stays so.

    Raises NotFound, and Refused for a bad tag or too many, or a note that is too long.
    """
    now = time.time() if now is None else now
    added, removed = _tags("add_tags", add_tags), _tags("remove_tags", remove_tags)
    if note is not None and len(note) > NOTE_LENGTH:
        raise Refused(Problem("note", f"expected at most {NOTE_LENGTH} characters, got {len(note)}"))
    with write(engine) as connection:
        number = lock(connection, run_id).number
        before = set(connection.execute(sa.select(run_tags.c.tag).where(run_tags.c.run == number)).scalars())
        after = (before - set(removed)) | set(added)
        if len(after) > MOST_TAGS:
            raise Refused(
                Problem("add_tags", f"expected at most {MOST_TAGS} tags of a run, {run_id} would have {len(after)}")
            )
        if gone := before - after:
            connection.execute(sa.delete(run_tags).where(run_tags.c.run == number, run_tags.c.tag.in_(gone)))
        if new := after - before:
            connection.execute(sa.insert(run_tags), [{"run": number, "tag": tag} for tag in sorted(new)])
        values: dict[str, Any] = {} if note is None else {"note": clean_lines(note.replace("\r\n", "\n"))}
        connection.execute(sa.update(runs).where(runs.c.number == number).values(updated_at=now, **values))
        return load(connection, [number])[0]


def _tags(field: str, tags: Sequence[str]) -> list[str]:
    for tag in tags:
        if not clean(tag, TAG_LENGTH).strip() or len(tag) > TAG_LENGTH:
            raise Refused(Problem(field, f"expected tags of 1 to {TAG_LENGTH} characters, got {tag[:60]!r}"))
    return [clean(tag, TAG_LENGTH) for tag in tags]
