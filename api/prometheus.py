"""``GET /metrics`` for Prometheus: the pool from the database, the requests from this process.

No name of a user, run or token is a label. It needs a token like everything else; one of scope "metrics" opens this alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, cast

import sqlalchemy as sa
from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.types import Scope

from store import pulse
from store.devices import Seen
from store.settings import Settings

router = APIRouter(include_in_schema=False)

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Meters:
    """What this process measures of itself and, when asked, of the pool."""

    def __init__(self, engine: sa.Engine, settings: Settings) -> None:
        self.registry = CollectorRegistry()
        names = ("method", "route")
        about = "Time to the first byte of an answer, by route."
        self._times = Histogram("laser_http_seconds", about, names, buckets=BUCKETS, registry=self.registry)
        about = "Answers by route and status; 5xx are errors of the service."
        self._answers = Counter("laser_http_answers", about, (*names, "status"), registry=self.registry)
        self.registry.register(_Pool(engine, settings))
        ProcessCollector(registry=self.registry)

    def answered(self, scope: Scope, status: int, took_s: float) -> None:
        """Called once for each answer. Addresses that no route knows count as one, so that nobody can make up labels."""
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._times.labels(method, route).observe(took_s)
        self._answers.labels(method, route, str(status)).inc()


class _Pool(Collector):
    def __init__(self, engine: sa.Engine, settings: Settings) -> None:
        self.engine, self.settings = engine, settings
        self._ingested, self._one_at_a_time = pulse.Ingested(), threading.Lock()

    def describe(self) -> list[Metric]:
        return []  # the database isn't asked before the first scrape

    def collect(self) -> Iterator[Metric]:
        with self._one_at_a_time:
            points = self._ingested.look(self.engine)
        found, now = pulse.look(self.engine, self.settings.lease_s), time.time()
        yield _gauge("laser_runs", "Runs by state.", "state", found.states)
        yield _gauge("laser_queue_runs", "Runs that wait, by band.", "band", found.queued)
        about = "How long the run that waits longest has waited, by band."
        yield _gauge("laser_queue_longest_wait_seconds", about, "band", found.longest_wait_s)
        yield _gauge("laser_claims", "How often a worker took a run, of those not deleted.", "", {"": found.claims})
        yield CounterMetricFamily("laser_ingested_points", "Metric points stored since this process's start.", points)
        alive = [worker for worker in found.workers if worker.alive]
        slots = {"all": sum(w.slots for w in alive), "busy": sum(len(w.runs) for w in alive)}
        slots["taking"] = sum(w.slots for w in alive if w.is_taking)
        about = "Slots of the workers alive: all, those with a run, and those of workers that take runs."
        yield _gauge("laser_slots", about, "kind", slots)
        yield _gauge("laser_workers_alive", "Workers heard of within LASER_LEASE_S.", "", {"": len(alive)})
        yield _memory({device.uid: device for worker in alive for device in worker.devices})
        about = "Time since a worker was heard of; it is forgotten after a week."
        ages = {worker.id: max(0.0, now - worker.seen_at) for worker in found.workers}
        yield _gauge("laser_worker_heartbeat_age_seconds", about, "worker", ages)


def _gauge(name: str, about: str, label: str, values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(name, about, labels=[label] if label else [])
    for of, value in values.items():
        family.add_metric([of] if label else [], value)
    return family


def _memory(devices: Mapping[str, Seen]) -> Metric:
    about = "Memory of each GPU or CPU slot: total (0: not accounted), used as measured, reserved for the runs on it."
    family = GaugeMetricFamily("laser_device_memory_bytes", about, labels=["device", "kind"])
    for uid, device in devices.items():
        kinds = {"total": device.memory_bytes, "used": device.used_bytes, "reserved": device.reserved_bytes}
        for kind, value in kinds.items():
            family.add_metric([uid, kind], value)
    return family


@router.get("/metrics")
def read(request: Request) -> Response:
    meters = cast(Meters, request.app.state.meters)
    return Response(generate_latest(meters.registry), media_type=CONTENT_TYPE_LATEST)
