"""Puts right what no single run can: lost workers, lost rings. A process beside each Celery worker; one of them leads.
A thread of it sends what webhooks are due, so that a slow receiver holds up nobody.

``python -m worker.reconciler IDENTITY``: the worker's id, host and pid as JSON. It needs no broker to expire leases and no
database to stay alive; whatever is away is asked again in the next round.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa
import structlog
from celery import Celery

from store import broker, claims, database, workers
from store.errors import NotFound, Outdated
from store.preempt import make_way
from store.settings import Settings
from worker import device, logs
from worker.link import LONGEST_DELAY_S
from worker.room import Look, left_behind, remove
from worker.webhooks import Sender

RING_EXPIRES_S = 60.0
LED_ROUNDS = 2  # a leader that misses so many rounds is replaced: a run whose worker died before it waits for that
PATIENCE_S = LONGEST_DELAY_S + 2  # after an outage: whoever lives has tried again by then, and beaten
SPOOL_KEPT_S = 7 * 86_400.0
BROKER_TIMEOUT_S = 2.0

log = structlog.stdlib.get_logger("worker.reconciler")


@dataclass(frozen=True)
class Identity:
    """The Celery worker that this reconciler speaks for."""

    worker_id: str
    host: str
    pid: int


class Reconciler:
    """One round at a time, so that tests need no waiting."""

    def __init__(
        self,
        engine: sa.Engine,
        settings: Settings,
        identity: Identity,
        bell: Celery,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.engine, self.settings, self.identity, self.bell = engine, settings, identity, bell
        self._is_broker_away = self._is_registered = False
        self._look, self._unable = Look(), ""
        self._clock, self._reached_at, self._patient_until = clock, clock(), 0.0

    def round(self) -> None:
        """Beats; and where this one leads, takes runs from lost workers and rings. Raises SQLAlchemyError, and Outdated for
        code of another version than the database."""
        try:
            self._beat()
        except sa.exc.DBAPIError:
            database.require_head(self.engine)  # an older database may lack what a beat writes
            raise
        database.require_head(self.engine)
        is_patient = self._is_patient()
        lead_s = LED_ROUNDS * self.settings.reconcile_s
        if not claims.lead(self.engine, "reconciler", self.identity.worker_id, lead_s):
            return
        if not is_patient:
            for run_id in claims.expire_leases(self.engine, self.settings.max_attempts):
                log.warning("lease expired", run=run_id)
        for run_id in make_way(self.engine, self.settings):
            log.info("asked to make way", run=run_id)
        waiting, light = claims.queued_count(self.engine), claims.queued_count(self.engine, only_light=True)
        alive = [worker for worker in workers.list_workers(self.engine) if worker.alive]
        takers = [worker for worker in alive if worker.is_taking]
        free, idle = (sum(max(0, worker.slots - len(worker.runs)) for worker in some) for some in (takers, alive))
        # Rings for more than these would pile up in the broker; idle slots that take nothing hear some of them.
        if rings := max(min(waiting, free), min(light, len(takers))):
            self._ring(rings + idle - free)

    def _is_patient(self) -> bool:
        """For a moment after an outage of the database that was long enough to end the lease of a worker that lives: each
        tries again every few seconds, and its run need not be taken from it. Never twice in a row, however slow rounds are.
        """
        now, settings = self._clock(), self.settings
        long = max(settings.lease_s - settings.heartbeat_s, 3 * settings.reconcile_s)
        if now - self._reached_at > long and not self._patient_until:
            self._patient_until = now + PATIENCE_S
        elif now >= self._patient_until:
            self._patient_until = 0.0
        self._reached_at = now
        return now < self._patient_until

    def _beat(self) -> None:
        me, unable = self.identity, self._look.lack(self.settings)
        if unable != self._unable:
            log.warning("takes no run", reason=unable) if unable else log.info("takes runs again")
        self._unable = unable
        found = device.devices(self.settings, me.worker_id)
        if self._is_registered:
            with contextlib.suppress(NotFound):
                workers.beat(self.engine, me.worker_id, found, unable)
                return
        slots, labels = self.settings.slots, self.settings.pool_labels
        version = importlib.metadata.version("laser-lab")
        workers.register(
            self.engine, me.worker_id, me.host, me.pid, slots, device.description(), version, labels, found, unable
        )
        self._is_registered = True
        log.info("registered", worker=me.worker_id, slots=self.settings.slots)

    def _ring(self, times: int) -> None:
        try:
            for _ in range(times):
                broker.ring(self.bell, RING_EXPIRES_S)
        except broker.AWAY as error:
            if not self._is_broker_away:
                log.warning("broker is away", error=str(error))
            self._is_broker_away = True
            return
        if times and self._is_broker_away:
            log.info("broker is back")
            self._is_broker_away = False


def bell(broker_url: str) -> Celery:
    """As ``broker.producer``."""
    return broker.producer("reconciler", broker_url, BROKER_TIMEOUT_S)


def sweep(settings: Settings, now: float) -> None:
    """Deletes what attempts left behind whose run went on elsewhere."""
    for path in left_behind(settings, "r_*-*"):
        spool = settings.spool_dir / f"{path.name}.spool"  # grows as long as its attempt lives
        if max((each.stat().st_mtime for each in (path, spool) if each.exists()), default=now) < now - SPOOL_KEPT_S:
            remove(path)
    for path in settings.locks_dir.glob("r_*"):
        if path.stat().st_mtime < now - SPOOL_KEPT_S and not any(settings.spool_dir.glob(f"{path.name}-*")):
            remove(path)


def main(identity: str) -> None:
    """Rounds until SIGTERM."""
    logs.configure()
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = Settings()
    reconciler = Reconciler(
        database.connect(settings.database_url), settings, Identity(**json.loads(identity)), bell(settings.broker_url)
    )
    sweep(settings, time.time())
    threading.Thread(target=Sender(reconciler.engine, settings).run, args=(stopping,), daemon=True).start()
    trouble = ""
    while not stopping.is_set() and os.getppid() == reconciler.identity.pid:
        try:
            reconciler.round()
            before, trouble = trouble, ""
        except Outdated as outdated:
            before, trouble = trouble, str(outdated)
        except sa.exc.SQLAlchemyError as error:  # also a schema that `laser up` hasn't made yet
            before, trouble = trouble, f"database is away: {error.__cause__ or error}"
        if trouble and trouble != before:
            log.warning("takes nothing", reason=trouble)
        stopping.wait(reconciler.settings.reconcile_s)


if __name__ == "__main__":
    main(sys.argv[1])
