"""Ways into the browser: a token, a printed link, an OpenID Connect provider; and what is told of those who fail."""

from __future__ import annotations

import base64
import json
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc.jwk import RSAKey
from pydantic import SecretStr

from api import oidc
from store import access, audit, users
from tests.api.provider import CLIENT, Provider

OURS = {"Origin": "http://127.0.0.1:8420"}


def refusals(engine):
    return [e for e in audit.entries(engine) if (e.action, e.outcome) == ("login", "refused")]


# --- by token ----------------------------------------------------------------------------------------------------------


def test_a_token_opens_a_session_that_may_do_no_more(nobody, engine):
    token = access.create_token(engine, access.LOCAL_USER, "read", ttl_s=3600)
    response = nobody.post("/login", data={"token": f" {token}\n"}, headers=OURS)
    assert (response.status_code, response.headers["location"]) == (303, "/")
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert 3500 < int(cookie.partition("Max-Age=")[2].partition(";")[0]) <= 3600
    assert nobody.get("/api/v1/me").json()["scope"] == "read"
    assert nobody.post("/api/v1/runs", json={"kind": "train"}, headers=OURS).status_code == 403
    assert [(e.user_name, e.detail) for e in audit.entries(engine) if e.action == "login"] == [("local", "by token")]


def test_a_session_ends_with_the_token_that_opened_it(nobody, engine):
    token = access.create_token(engine, access.LOCAL_USER, "all", ttl_s=3600)
    nobody.post("/login", data={"token": token}, headers=OURS)
    assert nobody.get("/api/v1/me").status_code == 200
    access.revoke(engine, access.authenticate(engine, token).secret_id)
    assert nobody.get("/api/v1/me").status_code == 401


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://evil.example"}, {"Origin": "null"}])
def test_another_page_cant_log_a_browser_in(nobody, token, headers):
    response = nobody.post("/login", data={"token": token}, headers=headers)
    assert response.status_code == 401
    assert "set-cookie" not in response.headers


def test_failed_logins_are_told_without_the_secret_and_only_so_many(nobody, engine):
    metrics = access.create_token(engine, access.LOCAL_USER, "metrics")
    for secret in ("guess", metrics, "", "x" * 3000):
        response = nobody.post("/login", data={"token": secret}, headers=OURS)
        assert response.status_code == 401
        assert "no token which opens the door" in response.text
    nobody.post("/api/v1/session", json={"code": "guess"})
    nobody.get("/login?code=guess")
    told = refusals(engine)
    assert [e.object_id for e in told] == ["link", "code", "token", "token", "token", "token"]
    assert all(e.user is None and e.detail.startswith("from testclient") for e in told)
    assert "guess" not in str(told)
    assert metrics not in str(told)
    for _ in range(40):
        nobody.get("/login?code=guess")
    assert len(refusals(engine)) == audit.REFUSED_LOGINS_KEPT


def test_a_form_beyond_its_limit_is_refused(nobody):
    assert nobody.post("/login", data={"token": "x" * 5000}, headers=OURS).status_code == 413


# --- by provider -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server_of_identities():
    with Provider().running() as provider:
        yield provider


@pytest.fixture
def provider(server_of_identities, app):
    fresh = Provider()
    fresh.url = server_of_identities.url
    fresh.key = fresh.published = server_of_identities.published
    server_of_identities.__dict__ |= fresh.__dict__
    secret = SecretStr(CLIENT[1])
    changes = {"oidc_issuer": fresh.url, "oidc_client_id": CLIENT[0], "oidc_client_secret": secret}
    app.state.settings = app.state.settings.model_copy(update={**changes, "oidc_domains": "lab.example"})
    return server_of_identities


def begun(nobody):
    """Where the provider sends the browser back to."""
    response = nobody.get("/login/oidc")
    assert response.status_code == 303
    cookie = response.headers["set-cookie"]
    for attribute in ("HttpOnly", "SameSite=lax", "Path=/login", "Max-Age=600"):
        assert attribute in cookie
    back = httpx.get(response.headers["location"]).headers["location"]
    assert back.startswith("http://127.0.0.1:8420/login/oidc/callback?")
    return back


def came_in(nobody):
    response = nobody.get(begun(nobody))
    assert response.status_code == 200, response.text
    return nobody.get("/api/v1/me").json()


def test_a_first_login_makes_a_member_and_later_ones_find_them(nobody, provider, engine, api):
    me = came_in(nobody)
    assert (me["name"], me["role"]) == ("ann@lab.example", "member")
    provider.person["email"] = "ann@married.example"  # the subject counts, not the address
    assert came_in(nobody)["id"] == me["id"]
    assert nobody.post("/api/v1/runs", json={"kind": "train"}, headers=OURS).status_code == 201
    made = [(e.action, e.detail) for e in audit.entries(engine) if e.user == me["id"]]
    assert ("user.create", "ann@lab.example as member, by first login") in made
    assert made.count(("login", "by oidc")) == 2
    api.patch(f"users/{me['id']}", json={"disabled": True})
    assert nobody.get(begun(nobody)).status_code == 401


def test_who_was_added_before_is_known_by_a_checked_address(nobody, provider, engine):
    provider.person = {"sub": "7", "email": "bob@elsewhere.example", "email_verified": True}
    assert "Ask an admin" in nobody.get(begun(nobody)).text
    bob = users.add(engine, "bob@elsewhere.example", "admin")
    assert came_in(nobody)["id"] == bob.id
    provider.person = {"sub": "8", "email": "bob@elsewhere.example", "email_verified": True}  # another account there
    nobody.cookies.clear()
    assert nobody.get(begun(nobody)).status_code == 401


@pytest.mark.parametrize(
    "person",
    [
        {"email": "ann@lab.example", "email_verified": False},
        {"email": "ann@lab.example"},
        {"email": "ann@evil.example", "email_verified": True},
        {"email": "ann@lab.example@evil.example", "email_verified": True},
        {"email": "ann@sub.lab.example", "email_verified": True},
        {"email": "<b>ann</b>@lab.example", "email_verified": True},
        {"email": "local", "email_verified": True},
        {},
    ],
)
def test_strangers_stay_outside(nobody, provider, engine, person):
    provider.person = {"sub": "9", **person}
    response = nobody.get(begun(nobody))
    assert response.status_code == 401
    assert "<b>ann" not in response.text
    assert [user.name for user in users.list_users(engine)] == ["local"]
    assert [e.object_id for e in refusals(engine)] == ["oidc"]


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"aud": "another client"},
        {"aud": [CLIENT[0], "other"], "azp": "other"},
        {"nonce": "another"},
        {"exp": 1},
        {"exp": None},
        {"iat": 4e9},
        {"sub": ""},
        {"sub": 7},
    ],
)
def test_a_token_that_isnt_meant_for_us_opens_nothing(nobody, provider, claims):
    provider.claims = claims
    response = nobody.get(begun(nobody))
    assert response.status_code == 401
    assert "laser_session" not in response.headers.get("set-cookie", "")


def test_a_token_of_another_key_or_none_opens_nothing(nobody, provider, monkeypatch):
    provider.key = RSAKey.generate_key(2048, {"kid": "first"})
    assert nobody.get(begun(nobody)).status_code == 401

    def unsigned(header, claims, key):
        parts = ({"alg": "none"}, claims)
        return ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in parts) + "."

    monkeypatch.setattr("tests.api.provider.jwt.encode", unsigned)
    assert nobody.get(begun(nobody)).status_code == 401


def test_a_login_ends_where_it_began_and_once(nobody, provider):
    back = begun(nobody)
    cookies = dict(nobody.cookies)
    nobody.cookies.clear()
    assert "begun in another browser" in nobody.get(back).text
    nobody.cookies.update(cookies)
    assert nobody.get(back.replace("state=", "state=x")).status_code == 401
    nobody.cookies.update(cookies)
    assert nobody.get(back).status_code == 200
    nobody.cookies.clear()
    nobody.cookies.update(cookies)
    assert nobody.get(back).status_code == 401
    assert provider.refused[0] == "code"


def test_a_code_is_no_use_to_another_browser(nobody, provider):
    """Its PKCE verifier isn't that of who asked for the code."""
    stolen = parse_qs(urlsplit(begun(nobody)).query)["code"][0]
    nobody.cookies.clear()
    state = parse_qs(urlsplit(begun(nobody)).query)["state"][0]
    assert nobody.get(f"/login/oidc/callback?code={stolen}&state={state}").status_code == 401
    assert provider.refused == ["pkce"]


def test_what_the_provider_refuses_is_told(nobody, provider, app):
    assert "access_denied" in nobody.get("/login/oidc/callback?error=access_denied%0d%0a<b>").text
    settings = app.state.settings
    app.state.settings = settings.model_copy(update={"oidc_client_secret": SecretStr("wrong")})
    assert nobody.get(begun(nobody)).status_code == 401
    for issuer in ("http://127.0.0.1:1", f"{provider.url}/"):
        app.state.settings = settings.model_copy(update={"oidc_issuer": issuer})
        assert nobody.get("/login/oidc").status_code == 401


def test_the_page_offers_what_there_is(nobody, app, provider):
    html = {"Accept": "text/html"}
    assert "/login/oidc" in nobody.get("/", headers=html).text
    app.state.settings = app.state.settings.model_copy(update={"oidc_issuer": ""})
    assert "/login/oidc" not in nobody.get("/", headers=html).text
    assert nobody.get("/login/oidc").status_code == 404


def test_what_a_browser_keeps_tells_nothing_of_what_is_sent():
    begun = oidc.Begun.anew()
    assert len({begun.secret, begun.state, begun.nonce, begun.verifier}) == 4
    assert len(begun.verifier) == 43  # RFC 7636: at least
