"""Request bodies read with a limit, and JSON read strictly: what is refused here never reaches the configuration."""

from __future__ import annotations

import contextlib
import json
import math
import unicodedata
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Any, NoReturn, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from api.problems import RequestProblem
from laser_core.schema import Problem

M = TypeVar("M", bound=BaseModel)
MAX_DEPTH = 32
MAX_DIGITS = 18
DRAINED_BYTES = 2**30


async def json_body(request: Request) -> Any:
    """The body as JSON data. Raises RequestProblem (413, 415, 422)."""
    return parse_json(await _json_text(request))


async def _json_text(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise RequestProblem(415, f"Expected Content-Type: application/json, got {kind or 'none'!r}.")
    limit = request.app.state.settings.max_body_bytes
    return b"".join([piece async for piece in limited(request, limit)])


async def optional_json_body(request: Request) -> Any:
    """As ``json_body``; an empty object where no body came."""
    if request.headers.get("content-length") in (None, "0") and "transfer-encoding" not in request.headers:
        return {}
    return await json_body(request)


def parsed(kind: type[M], is_required: bool = True, multiline: str = "") -> Callable[[Request], Awaitable[M]]:
    """A dependency: the body as ``kind``, read with the same limit and as strictly; the field ``multiline`` may hold line
    breaks and tabs. Raises RequestValidationError."""

    async def parse(request: Request) -> M:
        if multiline:
            data = parse_json(await _json_text(request), multiline)
        else:
            data = await (json_body if is_required else optional_json_body)(request)
        return checked(kind, data)

    return parse


def checked(kind: type[M], data: Any) -> M:
    """JSON data as ``kind``. Raises RequestValidationError."""
    with _told_like_fastapi():
        return kind.model_validate(data)


def parsed_numbers(kind: type[M]) -> Callable[[Request], Awaitable[M]]:
    """As ``parsed``, for bodies that are almost all numbers: pydantic reads the JSON itself, forty times as fast. So
    ``kind`` must say of every text what it may hold, and of every list how long it may be."""

    async def parse(request: Request) -> M:
        text = await _json_text(request)
        with _told_like_fastapi():
            return kind.model_validate_json(text)

    return parse


@contextlib.contextmanager
def _told_like_fastapi() -> Iterator[None]:
    """Errors as of a body that FastAPI reads itself."""
    try:
        yield
    except ValidationError as error:
        raise RequestValidationError([{**e, "loc": ("body", *e["loc"])} for e in error.errors()]) from error


def documented(kind: type[BaseModel], is_required: bool = True) -> dict[str, Any]:
    """What OpenAPI says of a body that ``parsed`` reads."""
    content = {"application/json": {"schema": kind.model_json_schema()}}
    return {"requestBody": {"required": is_required, "content": content}}


async def limited(request: Request, limit: int, named: int = 0) -> AsyncGenerator[bytes, None]:
    """The body piece by piece. Raises RequestProblem 413 when it is longer than ``limit``, which people know as ``named``.

    The rest is read and dropped first, within reason: closing on a client that still sends resets the connection, and it
    would never see the answer. One that waits for "100 Continue" has not begun to send.
    """
    size, waits = 0, "100-continue" in request.headers.get("expect", "").lower()
    announced = request.headers.get("content-length", "")
    if waits and announced.isdecimal() and int(announced) > limit:
        raise too_large(named or limit)
    async for piece in request.stream():
        size += len(piece)
        if size <= limit:
            yield piece
        elif size > limit + DRAINED_BYTES:
            break
    if size > limit:
        raise too_large(named or limit)


def parse_json(body: bytes, multiline: str = "") -> Any:
    """JSON data. Raises RequestProblem 422 naming line and column, or the field, of what JSON or a configuration can't hold:
    NaN, infinities, endless numbers, a name twice, deep nesting, control characters but for lines in ``multiline``."""
    try:
        text = body.decode("utf-8-sig")
        data = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_int=_whole_number,
            parse_float=_number,
            object_pairs_hook=_object,
        )
    except UnicodeDecodeError as error:
        raise _refused(f"the body isn't UTF-8: byte {error.start} can't be read") from error
    except json.JSONDecodeError as error:
        raise _refused(f"invalid JSON at line {error.lineno}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise _refused(f"nested deeper than {MAX_DEPTH} levels") from error
    _check(data, "", 0, multiline)
    return data


def _check(data: Any, field: str, depth: int, multiline: str) -> None:
    if depth > MAX_DEPTH:
        raise _refused(f"nested deeper than {MAX_DEPTH} levels")
    text = data if isinstance(data, str) else ""
    allowed = "\r\n\t" if multiline and field == multiline else ""
    is_plain = text.isprintable()  # quick, also of a long one
    if bad := not is_plain and next(
        (c for c in text if unicodedata.category(c) in ("Cc", "Cs") and c not in allowed), None
    ):
        raise _refused(f"holds the control character U+{ord(bad):04X}", field)
    if isinstance(data, dict):
        for name, value in data.items():
            _check(name, field, depth, "")
            _check(value, f"{field}.{name[:80]}" if field else name[:80], depth + 1, multiline)
    elif isinstance(data, list):
        for position, value in enumerate(data):
            _check(value, f"{field}.{position}", depth + 1, multiline)


def _refuse_constant(name: str) -> NoReturn:
    raise _refused(f"{name} is no JSON number; expected a finite one")


def _whole_number(text: str) -> int:
    if len(text.lstrip("-")) > MAX_DIGITS:
        raise _refused(f"the number {text[:12]}… has more than {MAX_DIGITS} digits")
    return int(text)


def _number(text: str) -> float:
    if len(text) > 64 or not math.isfinite(float(text)):
        raise _refused(f"the number {text[:12]}… is too large or too long")
    return float(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise _refused("is given twice", twice[:80])
    return data


def _refused(message: str, field: str = "") -> RequestProblem:
    return RequestProblem(
        422, f"The body can't be used: {f'{field}: ' if field else ''}{message}.", Problem(field, message)
    )


def too_large(limit: int) -> RequestProblem:
    size = f"{limit / 2**20:g} MiB" if limit >= 2**20 else f"{limit} bytes"
    return RequestProblem(413, f"The body is larger than the limit of {size}.", Problem("", f"at most {size}"))
