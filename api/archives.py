"""A whole run as one file, out and in."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from typing import Annotated, Any, BinaryIO, cast

from fastapi import APIRouter, Depends, Response
from fastapi.responses import StreamingResponse
from starlette.requests import Request

from api import models
from api.body import limited
from api.context import Config, Engine, Speaker
from api.problems import RESPONSES, RequestProblem
from store import archive
from store.restore import restore

router = APIRouter(prefix="/runs", tags=["archives"], responses=RESPONSES)

MEDIA_TYPE = "application/zip"
_FILE: dict[str, Any] = {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}


@router.get(
    "/{run_id}/archive",
    summary="A run that has ended as one zip file",
    response_class=StreamingResponse,
    responses={200: {"content": _FILE, "description": "Configuration, metrics, traces, events, files, checksums"}},
)
def export_archive(run_id: str, engine: Engine, settings: Config) -> StreamingResponse:
    """What is inside: docs/decisions/0008-archive.md. The same run gives the same bytes again."""
    headers = {"Content-Disposition": f'attachment; filename="{run_id}.laser.zip"'}
    pieces = (piece for piece in archive.write(engine, settings, run_id) if piece)
    return StreamingResponse(pieces, media_type=MEDIA_TYPE, headers=headers)


async def _received(request: Request) -> AsyncIterator[BinaryIO]:
    """The body in a file that is gone again when the request ends. Raises RequestProblem (413, 415)."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != MEDIA_TYPE:
        raise RequestProblem(415, f"Expected Content-Type: {MEDIA_TYPE}, got {kind or 'none'!r}.")
    settings = request.app.state.settings
    with tempfile.TemporaryFile(dir=settings.home) as file:
        async for piece in limited(request, settings.max_archive_bytes):
            file.write(piece)
        yield cast(BinaryIO, file)


@router.post(
    "/import",
    status_code=201,
    summary="Take over a run from another installation's archive",
    openapi_extra={"requestBody": {"required": True, "content": _FILE}},
    responses={200: {"model": models.Run, "description": "The run that this archive made before"}},
)
def import_archive(
    file: Annotated[BinaryIO, Depends(_received)],
    response: Response,
    engine: Engine,
    settings: Config,
    speaker: Speaker,
) -> models.Run:
    """It belongs to the speaker, is in the state that it ended in, and says in `imported_from` where it comes from. Every
    byte is checked against the archive's manifest first."""
    run, created = restore(engine, settings, file, speaker.user_id)
    if not created:
        response.status_code = 200
    response.headers["Location"] = f"/api/v1/runs/{run.id}"
    return models.Run.model_validate(run)
