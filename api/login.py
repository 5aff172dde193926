"""The pages by which a browser comes in: by a printed link, a token, or an OpenID Connect provider."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request

from api import oidc, pages
from api.body import limited
from api.context import Config, Engine
from api.gate import COOKIE, from_our_pages
from store import access, audit, users

router = APIRouter(include_in_schema=False)

FORM_BYTES = 4096
Short = Annotated[str, Query(max_length=2000)]


@router.get("/login")
def login(request: Request, engine: Engine, code: Annotated[str, Query(max_length=200)] = "") -> Response:
    """Where the printed link leads."""
    if not code:
        return _page(request)
    secret = access.redeem_login_code(engine, code)
    if secret is None:
        return _refused(request, engine, "link", "This login link has been used already, or is too old.")
    response = RedirectResponse("/", 303)
    set_cookie(request, response, secret)
    return response


async def _form_token(request: Request) -> str:
    """Field ``token`` of the page's form; empty where another page sent it."""
    body = b"".join([piece async for piece in limited(request, FORM_BYTES)])
    fields = parse_qs(body.decode("latin-1"))
    return fields.get("token", [""])[0].strip() if from_our_pages(request) else ""


@router.post("/login")
def login_by_token(token: Annotated[str, Depends(_form_token)], request: Request, engine: Engine) -> Response:
    """The session may do what the token may, and ends with it at the latest."""
    speaker = access.authenticate(engine, token) if token else None
    if speaker is None or speaker.kind != "token" or speaker.scope == "metrics":
        return _refused(request, engine, "token", "That is no token which opens the door; it may have expired.")
    secret, life_s = access.open_session(engine, speaker.user_id, "token", speaker)
    response = RedirectResponse("/", 303)
    set_cookie(request, response, secret, life_s)
    return response


@router.get("/login/oidc")
def login_by_provider(request: Request, engine: Engine, settings: Config) -> Response:
    """Sends the browser to the provider."""
    _require_provider(settings.oidc_issuer)
    begun = oidc.Begun.anew()
    try:
        response = RedirectResponse(oidc.begin(settings, begun, _callback(request)), 303)
    except oidc.OidcError as error:
        return _refused(request, engine, "oidc", str(error))
    # Lax: it has to come back from another site. Nothing but the end of this login asks for it.
    _cookie(request, response)(oidc.COOKIE, begun.secret, max_age=oidc.BEGUN_S, path=oidc.COOKIE_PATH, samesite="lax")
    return response


@router.get("/login/oidc/callback")
def end_login_by_provider(
    request: Request, engine: Engine, settings: Config, state: Short = "", code: Short = "", error: Short = ""
) -> Response:
    """Where the provider sends the browser back."""
    _require_provider(settings.oidc_issuer)
    try:
        if error:
            raise oidc.OidcError(f"The identity provider said no ({error[:80]}).")
        begun = oidc.Begun(request.cookies.get(oidc.COOKIE, ""))
        identity = oidc.end(settings, begun, _callback(request), state, code)
        user = users.of_identity(engine, identity.subject, identity.email, settings.oidc_domain_names)
        if user is None:
            who = identity.email or "who you are there"
            raise oidc.OidcError(f"No user here is {who}, or is disabled. Ask an admin: laser user add {who}")
    except oidc.OidcError as problem:
        response = _refused(request, engine, "oidc", str(problem))
    else:
        secret, life_s = access.open_session(engine, user.id, "oidc")
        # A page and no redirect: on a way that another site began, browsers don't show the strict session cookie.
        response = pages.welcome()
        set_cookie(request, response, secret, life_s)
    response.delete_cookie(oidc.COOKIE, path=oidc.COOKIE_PATH)
    return response


def set_cookie(request: Request, response: Response, secret: str, life_s: float = access.SESSION_TTL_S) -> None:
    """Lets the browser in that gets this response."""
    _cookie(request, response)(COOKIE, secret, max_age=int(life_s), path="/", samesite="strict")


def _cookie(request: Request, response: Response) -> Callable[..., None]:
    def put(name: str, value: str, **options: object) -> None:
        is_secure = request.url.scheme == "https"
        response.set_cookie(name, value, httponly=True, secure=is_secure, **options)  # type: ignore[arg-type]

    return put


def _page(request: Request, problem: str = "") -> Response:
    return pages.login(problem, has_provider=bool(request.app.state.settings.oidc_issuer))


def _refused(request: Request, engine: Engine, how: str, problem: str) -> Response:
    audit.login_refused(engine, how, f"from {request.client.host if request.client else 'unknown'}: {problem}")
    return _page(request, problem)


def _callback(request: Request) -> str:
    return str(request.url.replace(path="/login/oidc/callback", query=""))


def _require_provider(issuer: str) -> None:
    if not issuer:
        raise HTTPException(404)
