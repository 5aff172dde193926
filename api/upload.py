"""Receives one file as a form field or a raw body, piece by piece, into a temporary file that nobody else sees."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import BinaryIO, cast

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from api.body import limited, too_large
from api.problems import RequestProblem
from laser_core.schema import Problem

IN_MEMORY_BYTES = 2**20
FORM_BYTES = 2**16  # boundaries, headers and the name around the file


@dataclass(frozen=True)
class Upload:
    """``name`` is the form's field ``name`` or the file's own, without folders; empty for a raw body."""

    name: str
    file: BinaryIO


async def receive_upload(request: Request) -> AsyncIterator[Upload]:
    """The file, gone again when the request ends. Raises RequestProblem (413, 415, 422)."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    limit = request.app.state.settings.max_upload_bytes
    if kind == "multipart/form-data":
        async for upload in _form(request, limit):
            yield upload
    elif kind in ("text/csv", "application/csv", "text/plain", "application/octet-stream"):
        with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) as file:
            async for piece in limited(request, limit):
                file.write(piece)
            file.seek(0)
            yield Upload("", cast(BinaryIO, file))
    else:
        raise RequestProblem(
            415, f"Expected multipart/form-data with a field 'file', or text/csv; got {kind or 'none'!r}."
        )


async def _form(request: Request, limit: int) -> AsyncIterator[Upload]:
    pieces = limited(request, limit + FORM_BYTES, named=limit)
    parser = MultiPartParser(request.headers, pieces, max_files=1, max_fields=4)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise RequestProblem(422, f"The form can't be read: {error.message}") from error
    try:
        file, name = form.get("file"), form.get("name")
        if not isinstance(file, UploadFile):
            raise RequestProblem(422, "The form has no file.", Problem("file", "send the CSV file in this field"))
        if (file.size or 0) > limit:
            raise too_large(limit)
        own = (file.filename or "").replace("\\", "/").rpartition("/")[2]
        yield Upload(name if isinstance(name, str) and name else own, file.file)
    finally:
        await form.close()
