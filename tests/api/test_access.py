"""Nobody gets past the gate: every route, every method, every way a browser can be misused."""

from __future__ import annotations

import re
import shutil

import pytest
from fastapi.routing import APIRoute
from starlette.websockets import WebSocketDisconnect

from api.app import create_app
from api.gate import OPEN
from store import access

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
HTML = {"Accept": "text/html"}


@pytest.fixture
def database_url(settings, sqlite_template):
    """SQLite alone: nothing here depends on the database."""
    settings.home.mkdir(parents=True)
    shutil.copy(sqlite_template, settings.home / "laser.db")
    return settings.database_url


def routes(app):
    """Every address that the app knows, its parameters filled in."""
    assert not [r for r in app.routes if isinstance(r, APIRoute) and r.path == ""]
    listed = set(app.openapi()["paths"]) | {
        "/openapi.json",
        "/docs",
        "/redoc",
        "/login",
        "/",
        "/runs/r_1",
        "/assets/a.js",
    }
    return sorted(re.sub(r"\{\w+\}", "x", path) for path in listed)


@pytest.fixture
def session(nobody, engine):
    """A browser that logged in by link; its Host is 127.0.0.1:8420."""
    code, _ = access.create_login_code(engine, access.LOCAL_USER)
    response = nobody.get("/login", params={"code": code})
    assert (response.status_code, response.headers["location"]) == (303, "/")
    return nobody


def test_every_route_and_method_asks_who_you_are(app, nobody):
    paths = routes(app)
    assert len(paths) > 30
    for path in paths:
        for method in METHODS:
            if (method, path) in OPEN:
                continue
            response = nobody.request(method, path)
            assert response.status_code == 401, (method, path)
            assert response.headers["www-authenticate"].startswith("Bearer")
            assert method == "HEAD" or response.json()["status"] == 401
    assert nobody.get("/api/v1/health").json() == {"status": "ok"}
    assert nobody.post("/api/v1/session", json={"code": "guess"}).status_code == 401
    assert nobody.get("/login").status_code == nobody.get("/login?code=guess").status_code == 401


@pytest.mark.parametrize(
    "headers", [{"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}, {"Cookie": "laser_session=x"}]
)
def test_wrong_credentials_are_none(nobody, headers):
    assert nobody.get("/api/v1/me", headers=headers).status_code == 401


def test_a_wrong_token_is_not_saved_by_a_cookie(session):
    assert session.get("/api/v1/me").status_code == 200
    assert session.get("/api/v1/me", headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_browsers_are_told_how_to_log_in(nobody):
    for path in ("/", "/runs/r_1", "/login?code=spent"):
        response = nobody.get(path, headers=HTML)
        assert response.status_code == 401
        assert "laser open" in response.text
        assert response.headers["content-type"].startswith("text/html")


def test_a_login_code_opens_one_session(api, nobody, engine):
    answer = api.post("login-codes").json()
    assert answer["url"] == f"http://127.0.0.1:8420/login?code={answer['code']}"
    response = nobody.get(answer["url"], headers=HTML)
    cookie = response.headers["set-cookie"]
    assert response.status_code == 303
    for attribute in ("HttpOnly", "SameSite=strict", "Path=/"):
        assert attribute in cookie
    assert nobody.get("/api/v1/me").json()["name"] == "local"
    assert nobody.get(answer["url"]).status_code == 401
    code = api.post("login-codes").json()["code"]
    nobody.cookies.clear()
    assert nobody.post("/api/v1/session", json={"code": code}).status_code == 204
    assert nobody.get("/api/v1/me").status_code == 200
    assert nobody.delete("/api/v1/session", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 204
    assert nobody.get("/api/v1/me").status_code == 401


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, False),
        ({"Origin": "http://127.0.0.1:8420"}, True),
        ({"Origin": "http://localhost:8420"}, False),
        ({"Origin": "http://127.0.0.1:9000"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}, False),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
    ],
)
def test_a_change_by_cookie_comes_from_our_pages(session, headers, allowed):
    created = session.post("/api/v1/runs", json={"kind": "train"}, headers=headers)
    assert created.status_code == (201 if allowed else 403)
    deleted = session.delete("/api/v1/runs/r_1", headers=headers)
    assert deleted.status_code == (404 if allowed else 403)


def test_a_reading_token_reads_only(app, nobody, engine):
    token = access.create_token(engine, access.LOCAL_USER, "read")
    headers = {"Authorization": f"Bearer {token}"}
    assert nobody.get("/api/v1/runs", headers=headers).status_code == 200
    for method, path in (("POST", "runs"), ("DELETE", "runs/r_1"), ("POST", "login-codes"), ("POST", "datasets")):
        assert nobody.request(method, f"/api/v1/{path}", headers=headers).status_code == 403
    expired = access.create_token(engine, access.LOCAL_USER, ttl_s=1, now=1.0)
    assert nobody.get("/api/v1/runs", headers={"Authorization": f"Bearer {expired}"}).status_code == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8420", 200),
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("[::1]:8420", 200),
        ("evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("localhost@evil.example", 400),
        ("evil.example:127.0.0.1", 400),
        ("[", 400),
        ("", 400),
    ],
)
def test_the_host_must_be_ours(nobody, host, status):
    assert nobody.get("/api/v1/health", headers={"Host": host}).status_code == status


def test_websockets_are_closed(nobody):
    with pytest.raises(WebSocketDisconnect), nobody.websocket_connect("/api/v1/stream"):
        pass


def test_every_answer_has_the_security_headers(api, nobody):
    for response in (api.get("runs"), api.get("nothing"), nobody.get("/"), nobody.get("/", headers=HTML)):
        policy = response.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["x-frame-options"] == "DENY"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "lab.example"])
def test_beyond_loopback_is_refused(settings, host):
    with pytest.raises(ValueError, match="LASER_HOST"):
        create_app(settings.model_copy(update={"host": host}))


def test_the_token_file_is_the_owners_alone(app, settings, token):
    assert settings.token_file.stat().st_mode & 0o777 == 0o600
    again = create_app(app.state.settings)
    again.state.engine.dispose()
    assert settings.token_file.read_text().strip() == token
