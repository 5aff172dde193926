"""Carries a run's files between its folder on this machine and the object storage, in a thread beside its supervisor.

What can't be carried waits in the folder and is tried again, as events wait in the spool: training never does.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from io import BufferedReader

import sqlalchemy as sa
import structlog

from laser_core.events import CheckpointSaved, Event, FileSaved, Log
from store import artifacts
from store.artifacts import path_in_run
from store.blobs import Blob, Bucket, of_run
from store.claims import Claim
from store.errors import NotFound, Unreachable
from store.ingest import say
from worker.link import Away, Link

FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 8.0
Saved = CheckpointSaved | FileSaved  # events that speak of files

log = structlog.stdlib.get_logger("worker.carrier")


class CutShort(Exception):
    """The run has to leave this worker before its files have come."""


class Carrier:
    """Of one attempt. Nothing here waits: whoever calls asks again a moment later."""

    def __init__(self, bucket: Bucket, claim: Claim, engine: sa.Engine, link: Link) -> None:
        self._bucket, self._claim, self._engine, self._link = bucket, claim, engine, link
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="carrier")
        self._job: Future[None] | None = None
        self._files: list[tuple[Blob, str, BufferedReader]] | None = None  # on their way
        self._sent: Event | None = None
        self._due = self._delay_s = self._away_since = 0.0

    def fetch(self) -> bool:
        """Whether everything is here that the run needs; what is gone is left out."""
        return self._is_done(self._fetch)

    def send(self, events: list[Event]) -> list[Event] | None:
        """None until the files that the first of ``events`` speaks of are kept; then what is to be stored: the events, or a
        word on why there is none. The others speak of no files. Raises OSError for a file that isn't what was saved.
        """
        event = events[0]
        if not isinstance(event, Saved) or event is self._sent:
            return events
        if self._files is None:
            try:
                self._files = self._opened(event)
            except FileNotFoundError:
                gone = f"{event.name} is not kept: newer ones replaced it here before it could be sent"
                return [Log(gone, "warning")]
        if not self._is_done(self._send):
            return None
        self._files, self._sent = None, event
        return events

    def tidy(self) -> None:
        """Removes, soon, what this attempt and earlier ones sent and the database names no more."""
        with contextlib.suppress(Away):
            named = self._link.call(lambda: artifacts.keys(self._engine, self._claim.run_id))
            self._pool.submit(self._remove_all_but, named)

    def close(self, wait: bool) -> None:
        """Ends the thread, after all that it was given where ``wait``."""
        self._pool.shutdown(wait=wait, cancel_futures=not wait)
        for _, _, file in (self._files or ()) if wait else ():
            file.close()

    @property
    def is_busy(self) -> bool:
        """Whether something is on its way, as far as is known."""
        return self._job is not None and not self.is_stuck

    @property
    def is_stuck(self) -> bool:
        """Whether the object storage didn't answer the last time."""
        return self._away_since > 0

    def _is_done(self, work: Callable[[], None]) -> bool:
        """Starts ``work``, or sees how it goes; after a failure it is started again, at growing intervals."""
        if self._job is None and time.monotonic() >= self._due:
            self._job = self._pool.submit(work)
        if self._job is None or not self._job.done():
            return False
        job, self._job = self._job, None
        try:
            job.result()
        except Unreachable as error:
            self._delay_s = min(max(2 * self._delay_s, FIRST_DELAY_S), LONGEST_DELAY_S)
            self._due = time.monotonic() + self._delay_s
            if not self._away_since:
                self._away_since = time.monotonic()
                self._tell(f"{error}; files wait on this machine, and are tried again")
            return False
        if self._away_since:
            self._tell(f"object storage is back after {time.monotonic() - self._away_since:.0f} s")
            self._delay_s = self._away_since = 0.0
        return True

    def _tell(self, message: str) -> None:
        """At once, into the run's log: its own events may have to wait."""
        log.warning(message)
        claim, line = self._claim, Log(message, "warning")
        with contextlib.suppress(Away):
            self._link.call(lambda: say(self._engine, claim.run_id, claim.epoch, line))

    # --- in the thread

    def _fetch(self) -> None:
        for item in self._claim.luggage.items:
            if not item.target.exists():
                try:
                    self._bucket.fetch(item.blob, item.sha256, item.target)
                except NotFound as error:  # the training process says what follows from it
                    log.warning("a file can't be fetched", reason=str(error))

    def _send(self) -> None:
        while self._files:
            blob, sha256, file = self._files[-1]
            file.seek(0)
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise OSError(f"{blob.path} has changed since it was saved: its sha256 is another")
            file.seek(0)
            self._bucket.put(blob, file)
            file.close()
            self._files.pop()

    def _remove_all_but(self, keys: set[str]) -> None:
        try:
            sent = [key for key, _ in self._bucket.list(f"artifacts/{self._claim.run_id}") if key not in keys]
            self._bucket.delete([key for key in sent if int(key.split("/")[2]) <= self._claim.epoch])
        except Unreachable as error:  # the next checkpoint tries again
            log.warning("old checkpoints are left", reason=str(error))

    def _opened(self, event: Saved) -> list[tuple[Blob, str, BufferedReader]]:
        """Open, they stay readable when a newer checkpoint replaces them."""
        claim = self._claim
        if isinstance(event, CheckpointSaved):
            files = {path_in_run(event.name, name): sha256 for name, sha256 in event.files.items()}
        else:
            files = {event.name: event.sha256}
        return [
            (of_run(claim.run_id, claim.epoch, path), sha256, (claim.luggage.directory / path).open("rb"))
            for path, sha256 in files.items()
        ]
