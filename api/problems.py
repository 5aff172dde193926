"""Every error as RFC 9457 problem details: the one place where an expected error gets its HTTP status."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Match

from api import models
from laser_core.puzzle_file import PuzzleFileError
from laser_core.schema import ConfigError
from laser_core.schema import Problem as FieldProblem
from store.errors import Conflict, Forbidden, NotFound, Refused, Superseded, Unreachable

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
CONTENT_TYPE = "application/problem+json"
RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "What went wrong",
        "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}


class RequestProblem(HTTPException):
    """A request refused before it reached the store, with the fields at fault."""

    def __init__(self, status: int, detail: str, *errors: FieldProblem, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)
        self.errors = errors


def respond(
    request: Request,
    status: int,
    detail: str,
    errors: Iterable[FieldProblem] = (),
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """The problem as a response."""
    problem = models.Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        errors=[models.FieldProblem(field=_text(e.field), message=_text(e.message)) for e in errors],
        request_id=str(getattr(request.state, "request_id", "")),
    )
    return JSONResponse(problem.model_dump(), status, headers=headers, media_type=CONTENT_TYPE)


def install(app: FastAPI) -> None:
    """Registers a handler for each expected error. The unexpected one is answered in ``api.requests``."""
    answers: dict[type[Exception], Callable[[Request, Any], JSONResponse]] = {
        RequestProblem: lambda r, e: respond(r, e.status_code, e.detail, e.errors, e.headers),
        HTTPException: _http_exception,
        RequestValidationError: _validation_error,
        ConfigError: lambda r, e: respond(r, 422, _summary("The run's configuration can't be used", e), e.problems),
        Refused: lambda r, e: respond(r, 422, _summary("The request can't be carried out", e), e.problems),
        PuzzleFileError: _puzzle_file_error,
        Forbidden: lambda r, e: respond(r, 403, _sentence(e)),
        NotFound: lambda r, e: respond(r, 404, _sentence(e)),
        Conflict: lambda r, e: respond(r, 409, _sentence(e)),
        Superseded: lambda r, e: respond(r, 409, _sentence(e)),
        Unreachable: lambda r, e: respond(r, 503, _sentence(e), headers={"Retry-After": "10"}),
    }
    for error, answer in answers.items():
        app.add_exception_handler(error, _handler(answer))


def _handler(answer: Callable[[Request, Any], JSONResponse]) -> Callable[[Request, Exception], Any]:
    async def handle(request: Request, error: Exception) -> JSONResponse:
        return answer(request, error)

    return handle


def _http_exception(request: Request, error: HTTPException) -> JSONResponse:
    detail, headers = error.detail, dict(error.headers or {})
    if error.status_code == 404 and detail == "Not Found":
        detail = f"Nothing is at {request.url.path}; GET /openapi.json lists every address."
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_allowed(request))
        detail = f"{request.url.path} doesn't know {request.method}; it knows {headers['Allow']}."
    return respond(request, error.status_code, detail, headers=headers)


def _allowed(request: Request) -> list[str]:
    """Every method of the address; the router itself names those of its first route there only."""
    routes = request.app.router.routes
    scopes = {method: {**request.scope, "method": method} for method in METHODS}
    return [m for m, scope in scopes.items() if any(route.matches(scope)[0] is Match.FULL for route in routes)]


def _validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
    problems = [FieldProblem(_field(e["loc"]), _expected(e)) for e in error.errors()]
    return respond(request, 422, _summary("The request can't be used", *problems), problems)


def _puzzle_file_error(request: Request, error: PuzzleFileError) -> JSONResponse:
    where = f"line {error.line}" + (f".{error.field}" if error.field else "")
    return respond(request, 422, f"The file can't be used: {error}", [FieldProblem(where, error.message)])


def _field(location: Iterable[str | int]) -> str:
    """Without the leading "query", "path", "body" or "header"."""
    return ".".join(str(part) for part in list(location)[1:])


def _expected(error: dict[str, Any]) -> str:
    given = error.get("input")
    shown = f", got {str(given)[:60]!r}" if isinstance(given, str | int | float) else ""
    return f"{error['msg'][:1].lower()}{error['msg'][1:]}{shown}"


def _summary(what: str, *problems: Any) -> str:
    return f"{what}: {'; '.join(str(p) if isinstance(p, Exception) else f'{p.field}: {p.message}' for p in problems)}"[
        :2000
    ]


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:]


def _text(value: str) -> str:
    """Lone surrogates from a client's JSON can't be sent back as UTF-8."""
    return value.encode("utf-8", "replace").decode()
