"""Default deny: every request, to whatever address, needs a token or a session, except the few named here."""

from __future__ import annotations

from urllib.parse import urlsplit

import anyio.to_thread
import sqlalchemy as sa
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import pages, problems
from store import access, audit
from store.access import Principal
from store.settings import LOOPBACK

COOKIE = "laser_session"
OPEN = frozenset(
    {
        ("GET", "/api/v1/health"),
        ("POST", "/api/v1/session"),
        ("GET", "/login"),
        ("POST", "/login"),
        ("GET", "/login/oidc"),
        ("GET", "/login/oidc/callback"),
    }
)
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SESSION = "/api/v1/session"  # logging out is open to everybody
METRICS = "/metrics"
OWN = (SESSION, "/api/v1/login-codes", "/api/v1/tokens")  # what a viewer may change: the ways in


class Gate:
    """Checks the Host header, then who is speaking, then that a browser's change comes from our own pages.

    A change that is refused to somebody known, here or further inside, goes into the audit log.
    """

    def __init__(self, app: ASGIApp, engine: sa.Engine, hosts: frozenset[str]) -> None:
        self.app, self.engine, self.hosts = app, engine, LOOPBACK | hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request, status = Request(scope), 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        refusal = await self._refusal(request)
        await (refusal or self.app)(scope, receive, send_and_note)
        if status == 403 and request.method not in SAFE_METHODS:
            address = f"{request.method} {request.url.path}"
            await anyio.to_thread.run_sync(audit.refused, self.engine, request.state.principal.user_id, address)

    async def _refusal(self, request: Request) -> Response | None:
        if _host(request) not in self.hosts:  # a name that an attacker's DNS points at this machine
            return problems.respond(
                request,
                400,
                f"The Host header must name this server: {', '.join(sorted(self.hosts))}; LASER_ALLOWED_HOSTS adds names.",
            )
        if (request.method, request.url.path) in OPEN:
            return None
        secret, by_cookie = _secret(request)
        principal = await anyio.to_thread.run_sync(access.authenticate, self.engine, secret) if secret else None
        if principal is None:
            return _who_are_you(request)
        request.state.principal = principal
        if principal.scope == "metrics" and request.url.path != METRICS:
            return problems.respond(request, 403, f"This token may read {METRICS} and nothing else.")
        return None if request.method in SAFE_METHODS else _change_refusal(request, principal, by_cookie)


def _change_refusal(request: Request, principal: Principal, by_cookie: bool) -> Response | None:
    path = request.url.path
    if principal.scope != "all" and path != SESSION:
        return problems.respond(request, 403, "This token may only read; use one of scope 'all'.")
    if principal.role == "viewer" and not any(path == own or path.startswith(f"{own}/") for own in OWN):
        detail = (
            f"{principal.name!r} is a viewer, who reads everything and changes nothing; an admin can change the role."
        )
        return problems.respond(request, 403, detail)
    if by_cookie and not from_our_pages(request):
        return problems.respond(request, 403, "A change with a session cookie must come from this server's own pages.")
    return None


def from_our_pages(request: Request) -> bool:
    """CSRF: browsers say where a request comes from; one that doesn't is no browser of ours."""
    origin = request.headers.get("origin")
    if origin is not None:
        return origin == f"{request.url.scheme}://{request.headers.get('host', '')}"
    return request.headers.get("sec-fetch-site") == "same-origin"


def _secret(request: HTTPConnection) -> tuple[str, bool]:
    """The token, else the cookie: (secret, whether it came as a cookie)."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind:
        return (token.strip() if kind.lower() == "bearer" else ""), False
    return request.cookies.get(COOKIE, ""), True


def _who_are_you(request: Request) -> Response:
    if "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/"):
        return pages.login(has_provider=bool(request.app.state.settings.oidc_issuer))
    detail = (
        "Send Authorization: Bearer TOKEN (the token is in $LASER_HOME/token), or open a session with `laser open`."
    )
    return problems.respond(request, 401, detail, headers={"WWW-Authenticate": 'Bearer realm="laser"'})


def _host(request: HTTPConnection) -> str:
    """The host's name without its port, in lower case; empty for nonsense."""
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:
        return ""
