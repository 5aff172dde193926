"""Supervises one claimed run: starts its training process, brings its events home, beats, and settles how it ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import get_args

import sqlalchemy as sa
import structlog

from laser_core.events import CheckpointSaved, Event, Log, Progress, Result, Started
from store import claims
from store.blobs import Bucket
from store.claims import Claim, Orders
from store.devices import Device
from store.errors import NotFound, Outdated, Superseded
from store.ingest import ingest
from store.settings import Settings
from worker import spool
from worker.carrier import Carrier, CutShort, Saved
from worker.forkserver import ForkServer, NotReady, Training
from worker.job import STOPPED, Job
from worker.link import Away, Link
from worker.process import DirectoryLock, DirectoryTaken
from worker.room import Rest, clear, is_no_room, lack, remove_later_checkpoints
from worker.verdict import Asked, Finish, Grow, Lose, Release, Verdict, judge

TICK_S = 0.25
BATCH_S = 0.5
# Soft shutdown ends within 60 s: the training process gets the first number, the database the second.
DRAIN_GRACE_S, DRAIN_SETTLE_S = 40.0, 10.0
CANCEL_GRACE_S = 8.0  # whoever cancels waits for the slot, not for the checkpoint
LOCK_PATIENCE_S = 30.0
OUTPUT_LINES, OUTPUT_BYTES = 100, 64 * 1024

log = structlog.stdlib.get_logger("worker.supervisor")


@dataclass(frozen=True)
class Slot:
    """Where runs are trained: one child of the Celery worker."""

    engine: sa.Engine
    settings: Settings
    worker_id: str
    threads: int
    forkserver: ForkServer
    devices: tuple[Device, ...] = ()  # of the worker; each run gets one of them, or several
    is_draining: Callable[[], bool] = lambda: False
    rest: Rest = field(default_factory=Rest)

    def take_one(self) -> bool:
        """Claims a run and sees it through. False when there was none, no database to ask, or no room on the disk."""
        if not self.rest.is_over:
            return False
        if reason := lack(self.settings):
            log.warning("takes no run", reason=reason)
            return False
        claim_run = partial(claims.claim_run, self.engine, self.worker_id, self.settings.lease_s)
        try:
            claim = Link().call(
                lambda: claim_run(settings=self.settings, devices=self.devices, seats=self.settings.slots)
            )
        except Away:
            return False
        except Outdated as outdated:
            log.error("takes nothing", reason=str(outdated))
            return False
        if claim is None:
            return False
        with structlog.contextvars.bound_contextvars(run=claim.run_id, epoch=claim.epoch):
            Supervisor(self, claim).run()
        return True


@dataclass
class _Batch:
    """Events read from the spool and not yet known to be stored."""

    start: int
    end: int
    events: list[Event]
    is_last: bool  # nothing came after it when it was read


@dataclass
class _Seen:
    """What the events told so far."""

    progress: Progress | None = None
    step: int = 0
    result: Result | None = None
    error: str = ""

    def note(self, event: Event) -> None:
        match event:
            case Progress(step):
                self.progress, self.step = event, step
            case Started(step) | CheckpointSaved(step):
                self.step = step
            case Result():
                self.result = event
            case Log(message, "error"):
                self.error = message


@dataclass
class Supervisor:
    """One attempt at one run."""

    slot: Slot
    claim: Claim
    link: Link = field(default_factory=Link)
    asked: Asked = ""
    _asked_at: float = 0.0
    _drained_at: float = 0.0  # when the shutdown was first seen
    _beat_due: float = 0.0
    _batch_due: float = 0.0
    _is_marked: bool = False
    _offset: int = 0
    _batch: _Batch | None = None
    _seen: _Seen = field(default_factory=_Seen)
    _carrier: Carrier | None = None  # where files are kept elsewhere

    def __post_init__(self) -> None:
        self._seen.step = self.claim.step  # until it tells more
        if isinstance(blobs := self.slot.settings.blobs, Bucket):
            self._carrier = Carrier(blobs, self.claim, self.slot.engine, self.link)

    def run(self) -> None:
        """Returns when the run is in nobody's hands any more, or in another's."""
        clear(self.slot.settings, self.claim.run_id, self.claim.epoch)
        try:
            with self._training() as process:
                exit_code = self._watch(process)
            self._append_output()
            self._settle(
                judge(exit_code, self._seen.result is not None, self.asked, self._seen.step, self._last_words())
            )
        except (Superseded, NotFound) as fenced:
            log.warning("superseded", reason=str(fenced))
        except Away:  # only when draining: the lease will end, and another worker goes on
            log.warning("left the run to its lease")
        except CutShort:
            self._end(judge(STOPPED, False, self.asked or "shutdown", self._seen.step, ""))
        except (DirectoryTaken, NotReady) as unable:
            self._end(Release(str(unable)))
        except Exception as error:
            log.exception("supervising failed")
            reason = f"its supervisor failed: {type(error).__name__}: {error}"
            self._end(Release(reason, is_for_room=True) if is_no_room(error) else Lose(reason))
        if self._carrier:
            self._carrier.tidy()
            self._carrier.close(wait=not self.slot.is_draining())
        clear(self.slot.settings, self.claim.run_id, self.claim.epoch)

    # --- the training process

    @contextlib.contextmanager
    def _training(self) -> Iterator[Training]:
        self._mark_running_soon()
        process: Training | None = None
        try:
            with contextlib.closing(DirectoryLock(self.claim.luggage.lock)) as lock:
                lock.take(LOCK_PATIENCE_S, self._is_cut_short)
                remove_later_checkpoints(self.claim.luggage.directory, self.claim.checkpoint)
                self._fetch()
                self._job().save(self._file("job.json"))
                process = self.slot.forkserver.start(
                    self._file("job.json"), self._gpus(), self._file("out"), lock.fd, self._is_cut_short
                )
                lock.name_holder(process.pid)
            log.info("started", pid=process.pid, resume=self.claim.checkpoint)
            yield process
        finally:
            if process:
                process.kill()

    def _job(self) -> Job:
        claim = self.claim
        return Job(
            config=claim.config,
            directory=str(claim.luggage.directory),
            resume=claim.checkpoint,
            files={name: str(path) for name, path in claim.luggage.files.items()},
            checkpoint=str(source) if (source := claim.luggage.source_checkpoint) else None,
            spool=str(self._file("spool")),
            threads=self.slot.threads,
            memory_bytes=claim.memory_bytes,
            processes=claim.gpus,
        )

    def _gpus(self) -> dict[str, str]:
        """What shows the training process its devices and no others."""
        visible = ",".join(device.visible for device in self.claim.devices if device.visible)
        return {"CUDA_VISIBLE_DEVICES": visible} if visible else {}

    def _fetch(self) -> None:
        """Brings what the run needs to this machine. Raises CutShort."""
        while self._carrier and not self._carrier.fetch():
            if self._is_cut_short() or self.asked:
                raise CutShort
            time.sleep(TICK_S)

    # --- while it runs

    def _watch(self, process: Training) -> int:
        """Its exit code."""
        while True:
            self._beat()
            self._forward(everything=False)
            self._stop_if_asked(process)
            if (exit_code := process.wait(TICK_S)) is not None:
                return exit_code

    def _mark_running_soon(self) -> None:
        """At once when the database answers, else with the next beat."""
        with contextlib.suppress(Away):
            self.link.call(lambda: claims.mark_running(self.slot.engine, self.claim.run_id, self.claim.epoch))
            self._is_marked = True

    def _beat(self) -> None:
        if time.monotonic() < self._beat_due or not self.link.is_due:
            return
        if not self._is_marked:
            self._mark_running_soon()
        settings, place = self.slot.settings, (self.slot.engine, self.claim.run_id, self.claim.epoch)
        with contextlib.suppress(Away):
            orders = self.link.call(lambda: claims.heartbeat(*place, settings.lease_s, self._seen.progress))
            self._beat_due = time.monotonic() + settings.heartbeat_s
            if orders.cancel and self.asked != "cancel":
                self._ask("cancel")
            elif not self.asked and (told := self._told(orders)):
                self._ask(told)

    def _forward(self, everything: bool) -> bool:
        """Stores what the spool holds, for a while unless ``everything``. Whether nothing is left."""
        until = time.monotonic() + BATCH_S
        while self.link.is_due and (everything or self._batch_due <= time.monotonic() < until):
            if (batch := self._batch or self._next_batch()) is None:
                self._batch_due = time.monotonic() + BATCH_S
                return True
            if not self._is_stored(batch):
                return False
            self._offset, self._batch = batch.end, None
            if batch.is_last:
                self._batch_due = time.monotonic() + BATCH_S
            self._beat()
        return False

    def _next_batch(self) -> _Batch | None:
        path = self._file("spool")
        events, end = spool.read(path, self._offset, alone=get_args(Saved) if self._carrier else ())
        for event in events:
            self._seen.note(event)
        self._batch = _Batch(self._offset, end, events, end >= path.stat().st_size) if events else None
        return self._batch

    def _is_stored(self, batch: _Batch) -> bool:
        """Whether the database holds it, and what it points at is where it stays."""
        if self._carrier:
            if (kept := self._carrier.send(batch.events)) is None:
                return False
            batch.events = kept
        run_id, epoch = self.claim.run_id, self.claim.epoch
        with contextlib.suppress(Away):
            self.link.call(lambda: ingest(self.slot.engine, run_id, epoch, batch.start, batch.end, batch.events))
            if self._carrier and isinstance(batch.events[0], CheckpointSaved):
                self._carrier.tidy()
            return True
        return False

    @staticmethod
    def _told(orders: Orders) -> Asked:
        """Why a run has to stop, other than that it is cancelled; empty for no reason."""
        if orders.limit:
            return "limit"
        if orders.pause:
            return "pause"
        return "preempt" if orders.preempt else "drain" if orders.drain else ""

    def _ask(self, asked: Asked) -> None:
        log.info("stopping", asked=asked)
        self.asked, self._asked_at = asked, 0.0

    def _stop_if_asked(self, process: Training) -> None:
        if self._drained_s() and not self.asked:
            self._ask("shutdown")
        if not self.asked:
            return
        if not self._asked_at:
            process.terminate()
            self._asked_at = time.monotonic()
        grace_s = CANCEL_GRACE_S if self.asked == "cancel" else DRAIN_GRACE_S
        if time.monotonic() > self._asked_at + grace_s:
            log.warning("killed after its grace", grace_s=grace_s)
            process.kill()

    # --- after it ended

    def _append_output(self) -> None:
        """What it printed (tracebacks, complaints of libraries) goes the way of its events, now that it writes no more."""
        spool.mend(self._file("spool"), self._offset)
        if lines := self._output():
            writer = spool.SpoolWriter(self._file("spool"))
            for line in lines:
                writer.append(Log(line, "warning"))
            writer.close()
        give_up = self._patience()
        while not self._forward(everything=True):
            if give_up() and not self._is_sending():
                raise Away
            self._beat()
            if self.asked == "cancel" and self._carrier and self._carrier.is_stuck:
                break
            time.sleep(TICK_S)

    def _is_sending(self) -> bool:
        """Files are on their way, and what the soft shutdown allows isn't over."""
        return (
            self._carrier is not None and self._carrier.is_busy and self._drained_s() < DRAIN_GRACE_S + DRAIN_SETTLE_S
        )

    def _drained_s(self) -> float:
        """How long this worker has been shutting down; 0 while it isn't."""
        if self.slot.is_draining() and not self._drained_at:
            self._drained_at = time.monotonic() - TICK_S
        return time.monotonic() - self._drained_at if self._drained_at else 0.0

    def _last_words(self) -> str:
        return self._seen.error or next(iter(reversed(self._output())), "")

    def _output(self) -> list[str]:
        """Its last lines."""
        file = self._file("out")
        if not file.exists():
            return []
        with file.open("rb") as output:
            output.seek(max(0, file.stat().st_size - OUTPUT_BYTES))
            lines = output.read().decode(errors="replace").splitlines()
        return [line for line in lines if line.strip()][-OUTPUT_LINES:]

    def _settle(self, verdict: Verdict) -> None:
        engine, run_id, epoch = self.slot.engine, self.claim.run_id, self.claim.epoch
        if isinstance(verdict, Release) and verdict.is_for_room:
            self.slot.rest.begin()

        def tell() -> None:
            match verdict:
                case Finish(state, reason):
                    claims.finish(engine, run_id, epoch, state, reason)
                case Grow(reason):
                    claims.grow(engine, run_id, epoch, reason)
                case Release(reason):
                    claims.release(engine, run_id, epoch, reason)
                case Lose(reason):
                    claims.lose(engine, run_id, epoch, reason, self.slot.settings.max_attempts)

        if not self._is_marked:
            self.link.insist(lambda: claims.mark_running(engine, run_id, epoch), self._patience())
        self.link.insist(tell, self._patience())
        log.info("settled", verdict=str(verdict))

    def _end(self, verdict: Verdict) -> None:
        """Settles after something unforeseen; fenced or cut off, the lease does it."""
        with contextlib.suppress(Superseded, NotFound, Away):
            self._settle(verdict)

    def _patience(self) -> Callable[[], bool]:
        """Without end, but for a worker that shuts down."""
        drained_at: list[float] = []

        def is_over() -> bool:
            if self.slot.is_draining() and not drained_at:
                drained_at.append(time.monotonic())
            return bool(drained_at) and time.monotonic() > drained_at[0] + DRAIN_SETTLE_S

        return is_over

    def _is_cut_short(self) -> bool:
        with contextlib.suppress(Away):
            self._beat()
        return self.slot.is_draining()

    # --- files

    def _file(self, suffix: str) -> Path:
        self.slot.settings.spool_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self.slot.settings.spool_dir / f"{self.claim.run_id}-{self.claim.epoch}.{suffix}"
