"""Serves the built web UI: its files, and its one page for every address that is not the API's."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api import pages
from api.context import Config

HASHED = "assets/"  # Vite puts a hash of the content into the names of these
FOR_EVER = "private, max-age=31536000, immutable"


class _PagePath(Convertor[str]):
    """Any path but the API's, so that a wrong method or address there is told as such."""

    regex = "(?!api(?:/|$)).*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("page", _PagePath())
router = APIRouter(include_in_schema=False)


@router.api_route("/{path:page}", methods=["GET", "HEAD"])
def page(path: str, request: Request, settings: Config) -> Response:
    """A file of the build, else the page that finds its own way from the address."""
    if file := _file(settings.web_dir, path):
        return FileResponse(file, headers={"Cache-Control": FOR_EVER if path.startswith(HASHED) else "no-cache"})
    if "text/html" not in request.headers.get("accept", "") or path.startswith(HASHED):
        raise HTTPException(404)
    index = _file(settings.web_dir, "index.html")
    return FileResponse(index, headers={"Cache-Control": "no-cache"}) if index else pages.not_built()


def _file(root: Path, path: str) -> Path | None:
    """The file at ``path`` if it lies under ``root``, symbolic links followed."""
    if "\0" in path:
        return None
    file = (root / path.lstrip("/")).resolve()
    return file if file.is_relative_to(root.resolve()) and file.is_file() else None
