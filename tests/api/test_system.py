"""Health, schema, presets, the bell, the log, the UI's files."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time

import pytest
import redis
from fastapi import APIRouter
from starlette.testclient import TestClient

from api import log
from api.app import build
from api.doorbell import Doorbell
from api.openapi import document
from laser_core.config import parse_run, to_json
from store import database, logs, workers

HTML = {"Accept": "text/html"}


@pytest.fixture
def database_url(settings, sqlite_template):
    """SQLite alone: nothing here depends on the database."""
    settings.home.mkdir(parents=True)
    shutil.copy(sqlite_template, settings.home / "laser.db")
    return settings.database_url


def test_ready_and_version(api, app):
    answer = api.get("ready")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "database": "ok", "broker": "not configured"})
    version = api.get("version").json()
    assert version["database_schema"] == database.version(app.state.engine)
    assert version["version"] == app.version
    assert api.get("me").json() == {"id": "u_local", "name": "local", "role": "admin", "scope": "all"}


def test_workers_are_listed(api, engine):
    workers.register(engine, "w1", "host", 7, 2, "cpu", "0.1.0")
    (worker,) = api.get("workers").json()["items"]
    assert (worker["id"], worker["pid"], worker["alive"], worker["runs"]) == ("w1", 7, True, [])


def test_presets_are_whole_and_valid(api):
    presets = api.get("presets").json()
    assert len(presets) >= 5
    assert len({preset["name"] for preset in presets}) == len(presets)
    for preset in presets:
        assert to_json(parse_run(preset["config"])) == preset["config"]
        assert preset["title"]
        assert preset["description"]
    assert {preset["config"]["store"]["kind"] for preset in presets} >= {"none", "laser-fused"}


def test_the_schema_describes_the_body(api):
    schema = api.get("schema/run").json()
    assert schema["discriminator"]["propertyName"] == "kind"
    assert schema["$defs"]["TrainingConfig"]["properties"]["steps"]["minimum"] == 1
    openapi = api.get("http://127.0.0.1:8420/openapi.json").json()
    body = openapi["paths"]["/api/v1/runs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"$ref": "#/components/schemas/RunConfig"} in body["anyOf"]  # else beside the checkout that it comes from
    assert openapi["components"]["schemas"]["RunConfig"]["discriminator"]["mapping"]["eval"].endswith("EvalConfig")


def references(value):
    if isinstance(value, dict):
        yield from ([value["$ref"]] if isinstance(value.get("$ref"), str) else [])
        yield from (found for item in value.values() for found in references(item))
    elif isinstance(value, list):
        yield from (found for item in value for found in references(item))


def test_the_document_is_complete():
    openapi = json.loads(document())
    schemas = openapi["components"]["schemas"]
    assert {reference.rpartition("/")[2] for reference in references(openapi)} <= set(schemas)
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            assert "default" in operation["responses"], (method, path)
            assert operation["summary"]


def test_nothing_here_loads_torch():
    code = "import sys, api.app, api.openapi; sys.exit('torch' in sys.modules or 'worker' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_something_unexpected_tells_only_its_id(app, token, capsys):
    def fail():
        raise RuntimeError("a password is hunter2")

    log.configure()  # on the stderr of this test
    router = APIRouter()
    router.add_api_route("/api/v1/fail", fail)
    app.router.routes.insert(0, router.routes[0])
    with TestClient(app, base_url="http://127.0.0.1:8420") as client:
        response = client.get("/api/v1/fail?code=abc", headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert "hunter2" not in response.text
    logged = capsys.readouterr().err
    assert response.json()["request_id"] in logged
    assert "RuntimeError" in logged
    assert "abc" not in logged
    assert token not in logged


def test_log_lines_cant_be_forged(api, capsys):
    log.configure()
    api.delete("runs/r_1%0a%7b%22event%22:%22forged%22%7d%1b[2J%E2%80%AE")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line.get("method") == "DELETE"]
    assert line["path"] == '/api/v1/runs/r_1 {"event":"forged"}'
    assert line["run"] == 'r_1 {"event":"forged"}'
    assert not any(line.get("event") == "forged" for line in lines)


def test_secrets_are_redacted():
    shown = logs.redact(
        {
            "Authorization": "Bearer abc",
            "headers": {"cookie": "abc", "accept": "x"},
            "query": "code=abc&x=1",
            "url": "redis://user:abc@host/0",
            "said": ["Bearer abc", "laser_session=abc; y"],
        }
    )
    assert "abc" not in str(shown)
    assert "x=1" in shown["query"]
    assert shown["headers"]["accept"] == "x"


# --- the bell ----------------------------------------------------------------------------------------------------------


def test_a_submit_rings_once(app, settings, token, engine, broker_url):
    rung = build(app.state.settings.model_copy(update={"broker_url": broker_url}), engine)
    headers = {"Authorization": f"Bearer {token}"}
    with (
        redis.Redis(unix_socket_path=broker_url.removeprefix("redis+socket://")) as broker,
        TestClient(rung, base_url="http://127.0.0.1:8420", headers=headers) as client,
    ):
        broker.flushall()
        assert client.get("/api/v1/ready").json()["broker"] == "ok"
        for seed in range(3):
            assert client.post("/api/v1/runs", json={"kind": "train", "seed": seed}).status_code == 201
        rung.state.doorbell.close()
        waiting = [json.loads(message) for message in broker.lrange("celery", 0, -1)]
    assert [message["headers"]["task"] for message in waiting] == ["worker.ring"] * 3
    assert [message["headers"]["ignore_result"] for message in waiting] == [True] * 3


def test_a_broker_that_is_away_costs_no_time():
    with socket.socket() as silent:  # accepts connections and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        bell = Doorbell(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        began = time.monotonic()
        for _ in range(3):
            bell.ring()
        assert time.monotonic() - began < 0.1
        assert bell.check().startswith("unreachable")
        bell.close()
        assert time.monotonic() - began < 8
    gone = Doorbell("redis+socket:///nowhere/socket")
    assert gone.check().startswith("unreachable")
    gone.ring()
    gone.close()


# --- the UI's files ----------------------------------------------------------------------------------------------------


@pytest.fixture
def built(app, tmp_path):
    """A small build of the UI."""
    root = tmp_path / "dist"
    (root / "assets").mkdir(parents=True)
    (root / "index.html").write_text("<title>LASER</title>")
    (root / "assets" / "app-1a2b.js").write_text("export {}")
    (tmp_path / "secret").write_text("secret")
    (root / "link").symlink_to(tmp_path / "secret")
    app.state.settings = app.state.settings.model_copy(update={"web_dir": root})


def page(api, path, headers=HTML):
    return api.get(f"http://127.0.0.1:8420{path}", headers=headers)


@pytest.mark.usefixtures("built")
def test_the_ui_finds_its_own_way(api):
    for path in ("/", "/runs/r_1", "/apiary", "/compare?run=a"):
        assert page(api, path).text == "<title>LASER</title>"
        assert page(api, path).headers["cache-control"] == "no-cache"
    script = page(api, "/assets/app-1a2b.js")
    assert "immutable" in script.headers["cache-control"]
    assert script.headers["content-type"].startswith("text/javascript")
    assert page(api, "/assets/gone-3c4d.js").status_code == 404
    assert page(api, "/favicon.ico", {"Accept": "image/*"}).status_code == 404
    assert page(api, "/api/v1/nothing").headers["content-type"] == "application/problem+json"
    assert page(api, "/api").status_code == 404


@pytest.mark.usefixtures("built")
def test_no_address_leads_out_of_the_build(api):
    for path in (
        "/../secret",
        "/..%2fsecret",
        "/%2e%2e/secret",
        "/link",
        "/assets/..%2f..%2fsecret",
        "//etc/passwd",
        "/a%00",
    ):
        assert "secret" not in page(api, path, {"Accept": "*/*"}).text.replace("/secret", "")
        assert "root:" not in page(api, path).text


def test_an_unbuilt_ui_says_what_to_do(api, app, tmp_path):
    app.state.settings = app.state.settings.model_copy(update={"web_dir": tmp_path / "nowhere"})
    response = page(api, "/")
    assert response.status_code == 503
    assert "make web" in response.text
