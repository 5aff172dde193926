"""The service itself: health, readiness, version, workers, who am I."""

from __future__ import annotations

from importlib.metadata import version as installed_version

import sqlalchemy as sa
from fastapi import APIRouter, Response

from api import models
from api.context import Bell, Config, Engine, Speaker
from api.problems import RESPONSES
from laser_core.config import SCHEMA_VERSION
from store import database, workers

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
def list_workers(engine: Engine, settings: Config) -> models.WorkerList:
    """Newest beat first."""
    return models.WorkerList(items=workers.list_workers(engine, settings.lease_s))


@router.get("/me", summary="Who is asking")
def me(speaker: Speaker) -> models.Me:
    return models.Me(id=speaker.user_id, name=speaker.name, role=speaker.role, scope=speaker.scope)
