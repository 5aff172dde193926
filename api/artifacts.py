"""Files that runs left, by the server's own ids."""

from __future__ import annotations

import re

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.requests import Request

from api import models
from api.context import Config, Engine
from api.problems import RESPONSES, RequestProblem
from laser_core.inspection import Inspection
from store import artifacts

MEDIA_TYPE = "application/octet-stream"
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
            "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
            "description": "The file",
        }
    },
)
def download(artifact_id: str, engine: Engine, settings: Config, request: Request) -> Response:
    artifact, blob = artifacts.get(engine, settings, artifact_id)
    name = "-".join(part for part in (artifact.run_id, artifact.folder, artifact.name) if part)
    headers = {"X-SHA256": artifact.sha256}
    if file := settings.blobs.local(blob):
        return FileResponse(file, media_type=MEDIA_TYPE, filename=name, headers=headers)
    size, tag = artifact.size_bytes or 0, f'"{artifact.sha256}"'
    is_same = request.headers.get("If-Range", tag) == tag
    start, end = _span(request.headers.get("Range", "") if is_same else "", size)
    if start >= end > 0:
        raise RequestProblem(
            416, f"Range: expected some of the {size} bytes.", headers={"Content-Range": f"bytes */{size}"}
        )
    headers |= {"Content-Disposition": f'attachment; filename="{name}"', "ETag": tag, "Accept-Ranges": "bytes"}
    headers["Content-Length"] = str(end - start)
    if is_part := end - start < size:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return StreamingResponse(settings.blobs.read(blob, start, end), 206 if is_part else 200, headers, MEDIA_TYPE)


def _span(asked: str, size: int) -> tuple[int, int]:
    """(start, end) of the one range that is asked for; of everything where it is several, or not understood."""
    if (told := re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", asked.replace(" ", ""))) is None:
        return 0, size
    first, last = told.groups()
    if first:
        return int(first), min(int(last) + 1, size) if last else size
    return (max(0, size - int(last)), size) if last else (0, size)
