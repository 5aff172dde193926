"""Rings the workers after a commit. The message has no content: the database decides what runs.

A bell that can't ring costs nothing but the reconciler's few seconds, so it never delays or fails a request.
"""

from __future__ import annotations

import queue
import threading

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

TASK = "worker.ring"  # worker.app
TIMEOUT_S = 0.5
WAITING_RINGS = 1000

log = structlog.get_logger("api.doorbell")


class Doorbell:
    """One thread that sends rings; a broker's outage drops those that wait, for the reconciler rings anew."""

    def __init__(self, broker_url: str) -> None:
        self.broker_url = broker_url
        self._rings: queue.Queue[bool] = queue.Queue(WAITING_RINGS)
        self._celery = _producer(broker_url) if broker_url else None
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
        if self._celery is None:
            return "not configured"
        try:
            with self._celery.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=2 * TIMEOUT_S)
                connection.default_channel.close()
        except (OperationalError, OSError) as error:
            return f"unreachable: {type(error).__name__}"
        return "ok"

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
                self._celery.send_task(TASK, ignore_result=True, retry=False)
            except (OperationalError, OSError) as error:
                log.warning("doorbell.broker_away", error=type(error).__name__, dropped=self._drop_waiting() + 1)

    def _drop_waiting(self) -> int:
        dropped, ended = 0, False
        while not self._rings.empty():
            ended |= not self._rings.get_nowait()
            dropped += 1
        if ended:
            self._rings.put_nowait(False)
        return dropped


def _producer(broker_url: str) -> Celery:
    app = Celery("api", broker=broker_url, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_serializer="json",
        broker_connection_retry=False,
        broker_connection_timeout=TIMEOUT_S,
        broker_transport_options={
            "socket_timeout": TIMEOUT_S,
            "socket_connect_timeout": TIMEOUT_S,
            "max_retries": 0,
            "retry_on_timeout": False,
        },
    )
    return app
