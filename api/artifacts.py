"""Files that runs left, by the server's own ids."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import FileResponse

from api import models
from api.context import Config, Engine
from api.problems import RESPONSES
from laser_core.inspection import Inspection
from store import artifacts

router = APIRouter(tags=["artifacts"], responses=RESPONSES)


@router.get("/runs/{run_id}/artifacts", summary="Files of a run")
def list_artifacts(run_id: str, engine: Engine, settings: Config) -> models.ArtifactList:
    """Newest checkpoint first, then reports."""
    return models.ArtifactList(items=artifacts.list_artifacts(engine, settings, run_id))


@router.get("/runs/{run_id}/inspection", summary="What an inspection found")
def read_inspection(run_id: str, engine: Engine, settings: Config) -> Inspection:
    """Of a run of kind inspect, once it has succeeded."""
    return artifacts.read_inspection(engine, settings, run_id)


@router.get(
    "/artifacts/{artifact_id}",
    summary="Download a file",
    response_class=FileResponse,
    responses={
        200: {
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            "description": "The file",
        }
    },
)
def download(artifact_id: str, engine: Engine, settings: Config) -> FileResponse:
    artifact, file = artifacts.get(engine, settings, artifact_id)
    name = "-".join(part for part in (artifact.run_id, artifact.folder, artifact.name) if part)
    return FileResponse(
        file, media_type="application/octet-stream", filename=name, headers={"X-SHA256": artifact.sha256}
    )
