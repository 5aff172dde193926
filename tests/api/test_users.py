"""Users, tokens and the audit log over REST."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from api.app import create_app
from store import access, users
from store.admin import way_in
from store.errors import Conflict


@pytest.fixture
def speak(nobody, engine):
    """Requests as a user who is made on first mention: ``speak("ann", "member", "GET", "me")``."""
    tokens = {}

    def speak(name, role, method, path, **options):
        if name not in tokens:
            tokens[name] = access.create_token(engine, users.add(engine, name, role).id)
        headers = {"Authorization": f"Bearer {tokens[name]}"}
        return nobody.request(method, f"/api/v1/{path}", headers=headers, **options)

    return speak


def entries(api, **query):
    return [(e["user_name"], e["action"], e["outcome"]) for e in api.get("audit", params=query).json()["items"]]


def test_an_admin_adds_changes_and_lists_users(api):
    made = api.post("users", json={"name": "ann", "role": "viewer"})
    assert made.status_code == 201
    assert made.headers["location"] == f"/api/v1/users/{made.json()['id']}"
    assert api.post("users", json={"name": "ann"}).status_code == 409
    assert api.get("users/ann").json() == made.json()
    assert api.patch("users/ann", json={"role": "member"}).json()["role"] == "member"
    assert [(u["name"], u["role"]) for u in api.get("users").json()["items"]] == [("local", "admin"), ("ann", "member")]
    assert api.patch("users/nobody", json={"role": "member"}).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "sent", "field"),
    [
        ("POST", "users", {"name": "x", "role": "king"}, "role"),
        ("POST", "users", {"name": " x"}, "name"),
        ("POST", "users", {"name": "x", "password": "y"}, "password"),
        ("POST", "users", [], ""),
        ("PATCH", "users/local", {"disabled": "yes"}, "disabled"),
        ("POST", "tokens", {"name": "x", "ttl_days": 0}, "ttl_days"),
        ("POST", "tokens", {"name": "x", "scope": "root"}, "scope"),
        ("POST", "tokens", {}, "name"),
        ("POST", "login-codes", {"user": 7}, "user"),
    ],
)
def test_nonsense_is_refused_by_field(api, method, path, sent, field):
    answer = api.request(method, path, json=sent)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_shares_and_limits_are_changed_and_audited(api):
    api.post("users", json={"name": "ann"})
    changed = api.patch("users/ann", json={"shares": 3, "most_running": 2}).json()
    assert (changed["shares"], changed["most_running"], changed["role"]) == (3, 2, "member")
    assert api.patch("users/ann", json={"most_running": 0}).json()["shares"] == 3
    told = [entry["detail"] for entry in api.get("audit").json()["items"] if entry["action"] == "user.share"]
    assert told == ["ann: 3 shares, any number running at once", "ann: 3 shares, 2 running at once"]
    for sent in ({"shares": -1}, {"most_running": 1.5}):
        assert api.patch("users/ann", json=sent).status_code == 422


def test_a_disabled_user_is_out_at_once(api, speak, nobody):
    assert speak("ann", "member", "GET", "me").status_code == 200
    link = api.post("login-codes", json={"user": "ann"}).json()["url"]
    assert api.patch("users/ann", json={"disabled": True}).json()["disabled_at"] is not None
    assert speak("ann", "member", "GET", "me").status_code == 401
    assert nobody.get(link).status_code == 401
    assert "disabled" in api.post("tokens", json={"name": "x", "user": "ann"}).json()["detail"]
    assert api.patch("users/ann", json={"disabled": False}).json()["disabled_at"] is None
    assert speak("ann", "member", "GET", "me").status_code == 200


def test_the_last_admin_stays(api, speak):
    for sent in ({"disabled": True}, {"role": "member"}):
        answer = api.patch("users/local", json=sent)
        assert answer.status_code == 409
        assert "make another user admin first" in answer.json()["detail"]
    assert speak("ann", "admin", "PATCH", "users/local", json={"role": "viewer"}).status_code == 200
    assert api.get("me").json()["role"] == "viewer"
    assert api.post("runs", json={"kind": "train"}).status_code == 403


def test_a_token_is_shown_once_listed_and_revoked(api, nobody):
    made = api.post("tokens", json={"name": "ci", "scope": "read", "ttl_days": 2}).json()
    headers = {"Authorization": f"Bearer {made['secret']}"}
    assert nobody.get("/api/v1/me", headers=headers).json()["scope"] == "read"
    for path in ("tokens", "login-codes"):
        assert nobody.post(f"/api/v1/{path}", json={"name": "more"}, headers=headers).status_code == 403
    listed = api.get("tokens")
    assert made["secret"] not in listed.text
    (shown,) = [token for token in listed.json()["items"] if token["name"] == "ci"]
    assert shown == made["token"]
    assert shown["expires_at"] - shown["created_at"] == pytest.approx(2 * 86_400)
    assert api.delete(f"tokens/{shown['id']}").status_code == 204
    assert nobody.get("/api/v1/me", headers=headers).status_code == 401
    assert api.delete(f"tokens/{shown['id']}").status_code == 404
    assert api.delete("tokens/%00").status_code == 404


def test_the_log_tells_who_did_what(api, speak, nobody):
    assert speak("ann", "member", "POST", "runs", json={"kind": "train"}).status_code == 201
    run_id = speak("ann", "member", "GET", "runs").json()["items"][0]["id"]
    assert "cancelled by local" in api.post(f"runs/{run_id}/cancel").json()["reason"]
    api.post(f"runs/{run_id}/cancel")  # changes nothing: no entry
    assert speak("ann", "member", "DELETE", f"runs/{run_id}").status_code == 204
    assert speak("ann", "member", "POST", "users", json={"name": "eve"}).status_code == 403
    token = api.post("tokens", json={"name": "x", "user": "ann"}).json()
    api.delete(f"tokens/{token['token']['id']}")
    link = api.post("login-codes", json={"user": "ann"}).json()
    assert nobody.get(link["url"]).status_code == 303
    api.patch("users/ann", json={"role": "viewer", "disabled": True})
    expected = [
        ("local", "user.disable", "done"),
        ("local", "user.role", "done"),
        ("ann", "login", "done"),
        ("local", "login-link.create", "done"),
        ("local", "token.revoke", "done"),
        ("local", "token.create", "done"),
        ("ann", "change", "refused"),
        ("ann", "run.delete", "done"),
        ("local", "run.cancel", "done"),
    ]
    assert entries(api, limit=9) == expected
    text = api.get("audit", params={"limit": 500}).text
    assert "POST /api/v1/users" in text
    assert run_id in text
    for secret in (token["secret"], link["code"]):
        assert secret not in text


def test_the_log_comes_in_pages(api):
    for number in range(5):
        api.post("users", json={"name": f"u{number}"})
    numbers, query = [], {"limit": 2}
    while True:
        page = api.get("audit", params=query).json()
        numbers += [entry["number"] for entry in page["items"]]
        if page["next_before"] is None:
            break
        query["before"] = page["next_before"]
    assert len(numbers) >= 5
    assert numbers == sorted(set(numbers), reverse=True)


def test_a_change_that_a_browser_is_refused_is_told(api, nobody):
    assert nobody.get(api.post("login-codes").json()["url"]).status_code == 303
    assert nobody.post("/api/v1/runs", json={"kind": "train"}).status_code == 403  # without an Origin
    assert entries(api, limit=1) == [("local", "change", "refused")]


def test_beyond_loopback_needs_users_and_names(app, engine):
    settings = app.state.settings.model_copy(update={"host": "0.0.0.0", "allowed_hosts": "lab.example, 10.0.0.7"})
    with pytest.raises(ValueError, match="laser user add NAME --role admin"):
        create_app(settings)
    users.add(engine, "ann", "admin")
    wide = create_app(settings)
    wide.state.engine.dispose()
    gate = next(m for m in wide.user_middleware if "hosts" in m.kwargs)
    assert gate.kwargs["hosts"] >= {"lab.example", "10.0.0.7"}
    users.change(engine, "ann", is_disabled=True)
    with pytest.raises(ValueError, match="LASER_HOST"):
        create_app(settings)


def test_a_server_that_may_not_listen_there_says_why(settings, database_url):
    own = {"LASER_HOME": str(settings.home), "LASER_DATABASE_URL": database_url, "LASER_HOST": "0.0.0.0"}
    command = [sys.executable, "-m", "api"]
    done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("api: LASER_HOST: expected 127.0.0.1")


def test_the_first_admin_comes_in_without_the_api(engine, nobody):
    headers = {"Authorization": f"Bearer {way_in(engine, 'ann')}"}
    assert nobody.get("/api/v1/me", headers=headers).json()["role"] == "admin"
    users.add(engine, "bob", "member")
    with pytest.raises(Conflict, match="'bob' is a member"):
        way_in(engine, "bob")


def test_a_stream_ends_with_its_token(live, api, engine, server):
    token = api.post("tokens", json={"name": "watch", "scope": "read"}).json()
    headers = {"Authorization": f"Bearer {token['secret']}"}
    with live.stream("GET", "stream", headers=headers) as response:
        assert response.status_code == 200
        api.delete(f"tokens/{token['token']['id']}")
        for _ in response.iter_lines():  # ends, or the read times out
            pass
