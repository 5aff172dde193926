"""Browser sessions: a one-time code, printed on the terminal, becomes an HttpOnly cookie."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from starlette.requests import Request

from api import user_models
from api.body import documented, json_body, parsed
from api.context import Engine, Speaker
from api.gate import COOKIE
from api.guards import whose
from api.login import set_cookie
from api.problems import RESPONSES, RequestProblem
from laser_core.schema import Problem
from store import access, audit

router = APIRouter(tags=["session"], responses=RESPONSES)

_BODY: dict[str, Any] = {
    "security": [],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object", "required": ["code"], "properties": {"code": {"type": "string"}}}
            }
        },
    },
}


@router.post(
    "/login-codes",
    status_code=201,
    summary="A link that logs one browser in, once",
    openapi_extra=documented(user_models.LoginFor, is_required=False),
)
def create_login_code(
    body: Annotated[user_models.LoginFor, Depends(parsed(user_models.LoginFor, is_required=False))],
    request: Request,
    engine: Engine,
    speaker: Speaker,
) -> user_models.LoginCode:
    """For yourself it is good for ten minutes; one that an admin sends to another user for a day."""
    user_id = whose(engine, speaker, body.user)
    code, expires_at = access.create_login_code(engine, user_id, by=speaker.user_id)
    url = request.url.replace(path="/login", query=f"code={code}")
    return user_models.LoginCode(url=str(url), code=code, expires_at=expires_at)


@router.post("/session", status_code=204, summary="Exchange a login code for a session cookie", openapi_extra=_BODY)
def open_session(
    body: Annotated[Any, Depends(json_body)], request: Request, response: Response, engine: Engine
) -> None:
    code = body.get("code") if isinstance(body, dict) else None
    if not isinstance(code, str):
        raise RequestProblem(422, "Send the login code.", Problem("code", "expected a string"))
    secret = access.redeem_login_code(engine, code)
    if secret is None:
        audit.login_refused(engine, "code", f"from {request.client.host if request.client else 'unknown'}")
        raise RequestProblem(
            401, "The login code is unknown, used already or too old; `laser open` or an admin makes a new one."
        )
    set_cookie(request, response, secret)


@router.delete("/session", status_code=204, summary="Log this browser out")
def close_session(response: Response, engine: Engine, speaker: Speaker) -> None:
    """A token is left alone: only a session ends."""
    if speaker.kind == "session":
        access.revoke(engine, speaker.secret_id, by=speaker.user_id)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
