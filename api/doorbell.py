"""Rings the workers after a commit. The message has no content: the database decides what runs.

A bell that can't ring costs nothing but the reconciler's few seconds, so it never delays or fails a request.
"""

from __future__ import annotations

import queue
import threading

import structlog

from store import broker

TIMEOUT_S = 0.5
WAITING_RINGS = 1000

log = structlog.get_logger("api.doorbell")


class Doorbell:
    """One thread that sends rings; a broker's outage drops those that wait, for the reconciler rings anew."""

    def __init__(self, broker_url: str) -> None:
        self.broker_url = broker_url
        self._rings: queue.Queue[bool] = queue.Queue(WAITING_RINGS)
        self._celery = broker.producer("api", broker_url, TIMEOUT_S) if broker_url else None
        self._thread = threading.Thread(target=self._work, name="doorbell", daemon=True)
        if self._celery is not None:
            self._thread.start()

    def ring(self) -> None:
        """Returns at once."""
        if self._celery is None:
            return
        try:
            self._rings.put_nowait(True)
        except queue.Full:
            log.warning("doorbell.full", waiting=WAITING_RINGS)

    def check(self) -> str:
        """ "ok", "not configured", or what is wrong with the broker; takes a second at most."""
        return "not configured" if self._celery is None else broker.check(self._celery)

    def close(self) -> None:
        """Sends what waits and ends the thread; gives up on a broker that doesn't answer."""
        if self._celery is None or not self._thread.is_alive():
            return
        self._put_end()
        self._thread.join(4 * TIMEOUT_S)
        self._celery.close()

    def _put_end(self) -> None:
        try:
            self._rings.put_nowait(False)
        except queue.Full:
            self._drop_waiting()
            self._rings.put_nowait(False)

    def _work(self) -> None:
        while self._rings.get():
            try:
                assert self._celery is not None
                broker.ring(self._celery)
            except broker.AWAY as error:
                log.warning("doorbell.broker_away", error=type(error).__name__, dropped=self._drop_waiting() + 1)

    def _drop_waiting(self) -> int:
        dropped, ended = 0, False
        while not self._rings.empty():
            ended |= not self._rings.get_nowait()
            dropped += 1
        if ended:
            self._rings.put_nowait(False)
        return dropped
