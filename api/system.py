"""The service itself: health, readiness, version, workers, who am I."""

from __future__ import annotations

import dataclasses
from importlib.metadata import version as installed_version

import sqlalchemy as sa
from fastapi import APIRouter, Response

from api import models, user_models
from api.context import Bell, Config, Engine, Speaker
from api.problems import RESPONSES
from laser_core.config import SCHEMA_VERSION
from store import database, runs, workers
from store.workers import Worker

router = APIRouter(tags=["system"], responses=RESPONSES)

VERSION = installed_version("laser-lab")


@router.get("/health", summary="Whether the process answers")
def health() -> models.Health:
    """The one address that needs no token."""
    return models.Health()


@router.get("/ready", summary="Whether runs can be taken", responses={503: {"model": models.Ready}})
def ready(engine: Engine, bell: Bell, response: Response) -> models.Ready:
    try:
        found = "ok" if database.version(engine) else "empty: not migrated"
    except sa.exc.SQLAlchemyError as error:
        found = f"unreachable: {type(error).__name__}"
    if found != "ok":
        response.status_code = 503
    return models.Ready(ready=found == "ok", database=found, broker=bell.check())


@router.get("/version", summary="Versions of the service and its schemas")
def version(engine: Engine) -> models.Version:
    return models.Version(version=VERSION, schema_version=SCHEMA_VERSION, database_schema=database.version(engine))


@router.get("/workers", summary="Workers that announced themselves")
def list_workers(engine: Engine, settings: Config, speaker: Speaker) -> models.WorkerList:
    """Newest beat first; of the runs in their hands, those that you may see."""
    found = workers.list_workers(engine, settings.lease_s)
    seen = runs.visible(engine, [run_id for worker in found for run_id in worker.runs], speaker.sees)
    shown = [dataclasses.replace(w, runs=tuple(run_id for run_id in w.runs if run_id in seen)) for w in found]
    return models.WorkerList(items=shown)


@router.post("/workers/{worker_id}/drain", summary="Let a worker take nothing new and give its runs back")
def drain(worker_id: str, engine: Engine, speaker: Speaker) -> Worker:
    """Within a minute its runs are back in the queue, each with a checkpoint. Asking again changes nothing."""
    return workers.drain(engine, worker_id, True, by=speaker.user_id)


@router.post("/workers/{worker_id}/undrain", summary="Let a drained worker take runs again")
def undrain(worker_id: str, engine: Engine, speaker: Speaker, bell: Bell) -> Worker:
    changed = workers.drain(engine, worker_id, False, by=speaker.user_id)
    for _ in range(changed.slots):
        bell.ring()
    return changed


@router.get("/me", summary="Who is asking")
def me(speaker: Speaker) -> user_models.Me:
    return user_models.Me(id=speaker.user_id, name=speaker.name, role=speaker.role, scope=speaker.scope)
