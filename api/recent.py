"""What changed of late, looked up and written down once for all streams that tell of every run."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import sqlalchemy as sa

from api import models
from store import runs

POLL_S = 0.4
KEPT = 10_000
OVERLAP_S = 2.0  # a change is stamped a moment before others can see it
FORGOTTEN_S = 30.0  # nobody asked for so long: what happened meanwhile is for the database to tell


class Change(NamedTuple):
    """A run as it became; ``position`` counts changes in the order in which they were found."""

    position: int
    owner: str
    text: bytes


def told(run: runs.Run) -> bytes:
    """The server-sent event of a changed run."""
    summary = models.RunSummary.model_validate(run).model_dump_json()
    return f"event: run\ndata: {summary}\nid: {run.updated_at!r}\n\n".encode()


class Recent:
    """The last changes of all runs, not older than POLL_S when asked for."""

    def __init__(self, ask: Callable[..., Awaitable[Any]]) -> None:
        self._ask = ask  # runs a question to the database in one of the streams' threads
        self._lock = asyncio.Lock()
        self._changes: deque[Change] = deque(maxlen=KEPT)
        self._known: dict[int, float] = {}  # stamps of what the next look will find again, by number
        self._since = self._looked_at = 0.0
        self.position = 0  # of the newest

    async def after(self, engine: sa.Engine, position: int) -> list[Change] | None:
        """Changes found after ``position``, oldest first; None when it is too far back."""
        async with self._lock:
            if time.monotonic() - self._looked_at >= POLL_S:
                await self._look(engine)
        missing = self.position - position
        if missing > len(self._changes):
            return None
        return list(self._changes)[len(self._changes) - missing :]

    async def _look(self, engine: sa.Engine) -> None:
        if time.monotonic() - self._looked_at > FORGOTTEN_S:
            self._since, self._known = time.time() - OVERLAP_S, {}
            self._changes.clear()
            self.position += 1  # so that every earlier place is too far back
        self._looked_at = time.monotonic()
        for run in await self._ask(runs.runs_changed, engine, self._since, None, KEPT, self._known):
            self.position += 1
            self._changes.append(Change(self.position, run.owner, told(run)))
            self._known[run.number] = run.updated_at
        newest = max(self._known.values(), default=self._since)
        self._since = max(self._since, min(newest, time.time()) - OVERLAP_S)
        self._known = {number: stamp for number, stamp in self._known.items() if stamp > self._since}
