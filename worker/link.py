"""Calls to a database that may be away: tried at growing intervals, and said once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy.exc
import structlog

log = structlog.stdlib.get_logger("worker.link")
T = TypeVar("T")

# The server is gone, the file is locked for too long, or the disk is full: it may be different in a while.
AWAY = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError, sqlalchemy.exc.TimeoutError)
TOO_SILENT = "25P03"  # PostgreSQL ended the transaction of a process that had been stopped in the middle of it
FIRST_DELAY_S, LONGEST_DELAY_S = 0.25, 4.0


class Away(Exception):
    """The database didn't answer; try again when ``Link.is_due``."""


class Link:
    """One supervisor's way to the database."""

    def __init__(self) -> None:
        self._delay_s = 0.0
        self._due = 0.0

    @property
    def is_due(self) -> bool:
        """False for a while after a failure."""
        return time.monotonic() >= self._due

    def call(self, request: Callable[[], T]) -> T:
        """What ``request`` returns. Raises Away when the database doesn't answer; the request's own errors pass."""
        try:
            answer = request()
        except sqlalchemy.exc.SQLAlchemyError as error:
            if not isinstance(error, AWAY) and getattr(getattr(error, "orig", None), "sqlstate", "") != TOO_SILENT:
                raise
            if not self._delay_s:
                log.warning("database is away, going on without it", error=str(error.__cause__ or error))
            self._delay_s = min(max(2 * self._delay_s, FIRST_DELAY_S), LONGEST_DELAY_S)
            self._due = time.monotonic() + self._delay_s
            raise Away from error
        if self._delay_s:
            log.info("database is back")
            self._delay_s = 0.0
        return answer

    def insist(self, request: Callable[[], T], give_up: Callable[[], bool]) -> T:
        """Like ``call``, until the database answers. Raises Away once ``give_up`` says so."""
        while True:
            try:
                return self.call(request)
            except Away:
                if give_up():
                    raise
            time.sleep(max(0.0, self._due - time.monotonic()))
