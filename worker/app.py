"""The Celery worker. A message only rings; the database says which run is next.

``celery -A worker.app worker --without-mingle --without-gossip --without-heartbeat``: workers meet in the database, and
looking for each other through the broker would cost a second at the start.

Three kinds of process: Celery's main one, which talks to the broker alone; its children, one for each slot and one for
inspections, which claim and supervise runs, each with a fork server (the only one to load torch) for their training
processes; and the reconciler beside them. None but the children and the reconciler opens the database, as an open SQLite file
must not be carried over a fork.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
import sys
from typing import Any

import kombu
import structlog
from celery import Celery, signals

from store import broker, database
from store.settings import Settings
from worker import device, logs
from worker.forkserver import ForkServer
from worker.keeper import Keeper
from worker.process import tie_to_parent
from worker.supervisor import Slot

TRAINER = "worker.trainer"
RECONNECT_S = 5

log = structlog.stdlib.get_logger("worker.app")
settings = Settings()
app = Celery("worker", broker=settings.broker_url or None, set_as_current=False)
app.conf.update(
    broker.settings(settings.broker_url),
    worker_concurrency=settings.slots + 1,  # one more for inspections, which needn't wait until training is over
    worker_prefetch_multiplier=1,
    worker_disable_prefetch=True,  # a busy slot must not sit on a ring that a free one could answer
    task_acks_late=False,  # a lost ring is the reconciler's, not the broker's, to send again
    worker_cancel_long_running_tasks_on_connection_loss=False,
    broker_connection_retry=True,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_connection_timeout=4,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    worker_send_task_events=False,
    worker_enable_remote_control=False,
)


class _Patient(kombu.Connection):  # type: ignore[name-defined, misc]
    """Tries again every few seconds however long the broker is away; Celery's own delay grows to half a minute, for which
    runs would wait after it is back."""

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Any:
        delays = {"interval_start": 1, "interval_step": 1, "interval_max": RECONNECT_S}
        return super().ensure_connection(*args, **{**delays, **kwargs})


app.amqp.Connection = _Patient


class _Here:
    """What this worker's processes know of each other; set in the main process and inherited by its children."""

    main_pid = 0
    worker_id = ""
    draining = mmap.mmap(-1, 1)  # shared memory: no lock that a killed child could keep
    keeper: Keeper | None = None
    # In a child only:
    slot: Slot | None = None
    is_told_to_stop = False


def is_draining() -> bool:
    """Whether the worker shuts down, or this child of it."""
    return _Here.is_told_to_stop or _Here.draining[0] != 0


@app.task(name=broker.TASK, ignore_result=True)  # type: ignore[untyped-decorator]
def ring() -> None:
    """Trains what is queued, run after run, until nothing is left."""
    if _Here.slot is None:
        _Here.slot = _this_slot()
    # systemd and terminals send SIGTERM to every process of the worker; while training it means what it means to the main.
    _Here.is_told_to_stop = False
    before = signal.signal(signal.SIGTERM, _stop_soon)
    try:
        while not is_draining() and _Here.slot.take_one():
            pass
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop_soon(*_: Any) -> None:
    _Here.is_told_to_stop = True


def _this_slot() -> Slot:
    found = device.devices(settings, _Here.worker_id)  # before anything that would have to be ended if it fails
    return Slot(
        engine=database.connect(settings.database_url),
        settings=settings,
        worker_id=_Here.worker_id,
        threads=device.threads(settings.slots),
        forkserver=ForkServer(TRAINER),
        devices=found,
        is_draining=is_draining,
    )


# --- Celery's signals, in the order in which they come -----------------------------------------------------------------


@signals.setup_logging.connect  # type: ignore[untyped-decorator]
def _set_up_logging(loglevel: int | str | None = None, **_: Any) -> None:
    logs.configure(loglevel or "INFO")


@signals.celeryd_init.connect  # type: ignore[untyped-decorator]
def _begin(sender: str, **_: Any) -> None:
    if not settings.broker_url:
        sys.exit("LASER_BROKER_URL: expected redis://, redis+socket:// or amqp://, got nothing; `laser up` sets it")
    _Here.main_pid = os.getpid()
    _Here.worker_id = f"{sender}:{os.getpid()}"


@signals.worker_init.connect  # type: ignore[untyped-decorator]
def _start_reconciler(**_: Any) -> None:
    identity = {"worker_id": _Here.worker_id, "host": socket.gethostname(), "pid": _Here.main_pid}
    _Here.keeper = Keeper([sys.executable, "-m", "worker.reconciler"], identity)


@signals.worker_process_init.connect  # type: ignore[untyped-decorator]
def _become_slot(**_: Any) -> None:
    tie_to_parent(_Here.main_pid)


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _drain(**_: Any) -> None:
    _Here.draining[0] = 1  # supervisors see it within a tick: checkpoint, back to the queue


@signals.worker_shutdown.connect  # type: ignore[untyped-decorator]
def _stop_reconciler(**_: Any) -> None:
    if _Here.keeper is not None:
        _Here.keeper.stop()
