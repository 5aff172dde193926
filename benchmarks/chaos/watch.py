"""When a database could be written to, as seen by somebody who only ever asks for it: on SQLite for the lock that writing
takes, on PostgreSQL for an answer in a transaction."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable

import sqlalchemy as sa

from store import database

TRY_EVERY_S = 0.25
LONG_S = 1.0  # shorter waits are turns, not outages
Span = tuple[float, float]  # seconds since 1970


class Watch:
    """Use as ``with Watch(url) as watch``. ``closed``: the spans in which no try came through."""

    def __init__(self, url: str) -> None:
        self.closed: list[Span] = []
        self._url, self._stopping = url, threading.Event()
        self._thread = threading.Thread(target=self._try, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(10)

    def _try(self) -> None:
        engine, since = database.connect(self._url), None
        while not self._stopping.wait(TRY_EVERY_S):
            since = since or time.time()
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                with database.write(engine) as connection:
                    connection.execute(sa.select(1))
                if (now := time.time()) - since > LONG_S:
                    self.closed.append((since, now))
                since = None
        engine.dispose()


def overlap_s(since: float, until: float, spans: Iterable[Span]) -> float:
    """Seconds of the time from ``since`` to ``until`` that lie in ``spans``."""
    return sum(max(0.0, min(until, end) - max(since, start)) for start, end in spans)
