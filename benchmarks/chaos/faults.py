"""What can happen to a lab: each fault finds its victim, strikes, and says what it did."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any, Literal

import redis

from benchmarks.chaos import points
from benchmarks.chaos.lab import Lab
from benchmarks.chaos.network import Machine
from benchmarks.chaos.processes import Training, is_stopped, reconcilers, send, signal_tree

POINT_PATIENCE_S = 60.0
Died = Literal["", "worker", "trainer"]


@dataclass
class Fault:
    """One strike. ``died``: what the attempts in ``hit`` lost. Where it was the worker, others must notice by the lease."""

    kind: str
    time: float  # seconds since 1970
    hit: list[tuple[str, int]] = field(default_factory=list)  # (run, epoch) of the attempts that it concerns
    detail: str = ""
    seconds: float = 0.0  # how long it lasted, where it doesn't last for ever
    died: Died = ""
    outcome: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


Strike = Callable[[Lab, Random], Fault | None]  # None where there is nobody to strike now


def _victim(lab: Lab, rng: Random) -> Training | None:
    """A training process whose supervisor isn't stopped already."""
    awake = [each for each in lab.trainings() if not is_stopped(each.supervisor) and not is_stopped(each.trainer)]
    return rng.choice(awake) if awake else None


def beyond_lease_s(lab: Lab, rng: Random) -> float:
    settings = lab.settings
    return settings.lease_s + settings.heartbeat_s + 2 * settings.reconcile_s + rng.uniform(0, settings.lease_s / 2)


# --- processes of a run ------------------------------------------------------------------------------------------------


def kill_trainer(lab: Lab, rng: Random) -> Fault | None:
    if (victim := _victim(lab, rng)) is None or not send(victim.trainer, signal.SIGKILL):
        return None
    return Fault("kill-trainer", time.time(), [(victim.run, victim.epoch)], died="trainer")


def kill_supervisor(lab: Lab, rng: Random) -> Fault | None:
    if (victim := _victim(lab, rng)) is None or not send(victim.supervisor, signal.SIGKILL):
        return None
    return Fault("kill-supervisor", time.time(), [(victim.run, victim.epoch)], died="worker")


def kill_worker(lab: Lab, rng: Random) -> Fault | None:
    """Celery's main process: its supervisors and what they train end with it."""
    if (victim := _victim(lab, rng)) is None or not send(victim.worker, signal.SIGKILL):
        return None
    return Fault("kill-worker", time.time(), [(victim.run, victim.epoch)], died="worker")


def terminate_worker(lab: Lab, rng: Random) -> Fault | None:
    """The soft end: checkpoint, back to the queue."""
    if (victim := _victim(lab, rng)) is None or not send(victim.worker, signal.SIGTERM):
        return None
    return Fault("terminate-worker", time.time(), [(victim.run, victim.epoch)])


def kill_reconciler(lab: Lab, rng: Random) -> Fault | None:
    if not (found := reconcilers(lab.home)) or not send(victim := rng.choice(found), signal.SIGKILL):
        return None
    return Fault("kill-reconciler", time.time(), detail=f"process {victim}")


def stop_trainer(lab: Lab, rng: Random) -> Fault | None:
    if (victim := _victim(lab, rng)) is None or not send(victim.trainer, signal.SIGSTOP):
        return None
    seconds = rng.uniform(1, 2 * lab.settings.lease_s)
    lab.later(seconds, lambda: send(victim.trainer, signal.SIGCONT))
    return Fault("stop-trainer", time.time(), [(victim.run, victim.epoch)], seconds=seconds)


def stop_supervisor(lab: Lab, rng: Random) -> Fault | None:
    """Beyond its lease; its training process goes on. It comes back and must find itself fenced."""
    if (victim := _victim(lab, rng)) is None or not send(victim.supervisor, signal.SIGSTOP):
        return None
    seconds = beyond_lease_s(lab, rng)
    lab.later(seconds, lambda: send(victim.supervisor, signal.SIGCONT))
    return Fault("stop-supervisor", time.time(), [(victim.run, victim.epoch)], seconds=seconds, died="worker")


def stop_worker(lab: Lab, rng: Random) -> Fault | None:
    """Every process of a worker beyond its lease, as when a machine hangs or is cut off."""
    if (victim := _victim(lab, rng)) is None:
        return None
    stopped, seconds = signal_tree(victim.worker, signal.SIGSTOP), beyond_lease_s(lab, rng)

    def go_on() -> None:
        for pid in stopped:
            if is_stopped(pid):
                send(pid, signal.SIGCONT)

    lab.later(seconds, go_on)
    hit, detail = [(victim.run, victim.epoch)], f"{len(stopped)} processes"
    return Fault("stop-worker", time.time(), hit, detail, seconds, died="worker")


def cut_off(lab: Lab, machine: Machine, victim: Training, rng: Random, least_s: float = 0.0) -> Fault:
    """Its network carries nothing for longer than a lease, and than ``least_s``; what runs on it goes on."""
    seconds = max(least_s, beyond_lease_s(lab, rng))
    machine.cut()
    lab.later(seconds, machine.join)
    return Fault("cut-off", time.time(), [(victim.run, victim.epoch)], machine.name, seconds, died="worker")


# --- services ----------------------------------------------------------------------------------------------------------


def kill_api(lab: Lab, rng: Random) -> Fault | None:
    if (api := lab.service("api")) is None or api.process is None or not send(api.process.pid, signal.SIGKILL):
        return None
    return Fault("kill-api", time.time())


def kill_broker(lab: Lab, rng: Random) -> Fault | None:
    """Started again soon, half the times without its memory."""
    broker = lab.service("broker")
    if broker is None or broker.process is None or not send(broker.process.pid, signal.SIGKILL):
        return None
    forgets = rng.random() < 0.5
    if forgets:
        shutil.rmtree(lab.home / "valkey", ignore_errors=True)
        (lab.home / "valkey").mkdir(mode=0o700)
    return Fault("kill-broker", time.time(), detail="and its memory" if forgets else "")


def flush_broker(lab: Lab, rng: Random) -> Fault | None:
    try:
        with lab.broker() as broker:
            held = broker.dbsize()
            broker.flushall()
    except (redis.exceptions.RedisError, OSError):
        return None
    return Fault("flush-broker", time.time(), detail=f"{held} keys")


def database_away(lab: Lab, rng: Random) -> Fault | None:
    if lab.away_until_undone:
        return None
    how, seconds = rng.choice(lab.database.outages), rng.uniform(1, lab.settings.lease_s * 1.5)
    lab.take_database_away(how, seconds)
    return Fault("database-away", time.time(), [], how, seconds)


def full_disk(lab: Lab, rng: Random) -> Fault | None:
    """Root alone can fill a small disk of its own; for others there is the point save-no-room."""
    if not lab.has_small_disk or lab.ballast.exists():
        return None
    seconds = rng.uniform(2, 10)
    lab.fill_disk(seconds)
    return Fault("full-disk", time.time(), seconds=seconds)


KINDS: dict[Strike, int] = {
    kill_trainer: 14,
    kill_supervisor: 12,
    kill_worker: 10,
    terminate_worker: 5,
    kill_reconciler: 4,
    stop_trainer: 6,
    stop_supervisor: 9,
    stop_worker: 6,
    kill_api: 7,
    kill_broker: 6,
    flush_broker: 7,
    database_away: 7,
    full_disk: 5,
}
POINTS_WEIGHT = 38  # of 100 strikes


@dataclass
class Armed:
    """A point that waits for somebody to pass it."""

    label: str
    at: int
    until: float = field(default_factory=lambda: time.monotonic() + POINT_PATIENCE_S)

    def struck(self, lab: Lab) -> Fault | None:
        """The fault once it has happened."""
        if (noted := points.taken(lab.points, self.label)) is None:
            return None
        (lab.points / f"{self.label}.taken").unlink()
        where = f"at call {self.at}" if self.label.startswith("save-") else ""
        hit = [(noted["run"], noted["epoch"])] if noted["run"] else []
        died: Died = "worker" if self.label in points.SUPERVISOR else "trainer"
        return Fault(f"point:{self.label}", noted["time"], hit, where, died=died)

    def disarm(self, lab: Lab) -> None:
        (lab.points / self.label).unlink(missing_ok=True)


def arm(lab: Lab, rng: Random) -> Armed:
    label = rng.choice(points.LABELS)
    at = rng.randint(1, points.BOUNDARIES) if label.startswith("save-") else 1
    points.arm(lab.points, label, at)
    return Armed(label, at)


def strike(lab: Lab, rng: Random, kinds: Mapping[Strike, int]) -> Fault | None:
    """One of ``kinds``, by their weights."""
    chosen = rng.choices(list(kinds), list(kinds.values()))[0]
    return chosen(lab, rng)
