"""Who may do what: every route and method of the app for every kind of speaker. A route without a line here fails."""

from __future__ import annotations

import io
import itertools

import pytest
import sqlalchemy as sa
from fastapi import APIRouter

from api import guards
from laser_core.config import parse_experiment, parse_run
from store import access, datasets, experiments, runs, submit, users, views, webhooks, workers
from store.checkouts import CheckoutDetails, Whole
from store.requests import Request
from store.tables import artifacts
from store.tables import runs as run_table

SPEAKERS = ("nobody", "foreign", "owner", "viewer", "admin")  # foreign: another member
BASE = "/api/v1"

# Expected statuses, in the order of SPEAKERS. What stands behind "?" is the query of a line of its own.
TABLE = {
    "POST /runs": "401 201 201 403 201",
    "GET /runs": "401 200 200 200 200",
    "GET /runs/{run_id}": "401 404 200 200 200",
    "PATCH /runs/{run_id}": "401 404 200 403 200",
    "POST /runs/{run_id}/cancel": "401 404 202 403 202",
    "POST /runs/{run_id}/pause": "401 404 409 403 409",  # it has ended
    "POST /runs/{run_id}/resume": "401 404 409 403 409",
    "POST /runs/{run_id}/clone": "401 404 201 403 201",
    "DELETE /runs/{run_id}": "401 404 204 403 204",
    "GET /runs/{run_id}/events": "401 404 200 200 200",
    "GET /runs/{run_id}/environments": "401 404 200 200 200",
    "GET /runs/{run_id}/logs": "401 404 200 200 200",
    "GET /runs/{run_id}/metrics": "401 404 200 200 200",
    "POST /runs/{run_id}/metrics": "401 404 409 403 409",  # of a run that nobody holds
    "GET /runs/{run_id}/metrics.csv": "401 404 200 200 200",
    "GET /runs/{run_id}/metrics.parquet": "401 404 200 200 200",
    "GET /runs/{run_id}/traces.csv": "401 404 200 200 200",
    "GET /runs/{run_id}/traces.parquet": "401 404 200 200 200",
    "GET /runs/{run_id}/traces": "401 404 200 200 200",
    "GET /runs/{run_id}/spectrum?site=s": "401 404 404 404 404",  # of a run without traces
    "GET /runs/{run_id}/memory": "401 404 200 200 200",
    "GET /runs/{run_id}/artifacts": "401 404 200 200 200",
    "GET /runs/{run_id}/inspection": "401 404 404 404 404",  # of a run of another kind
    "GET /runs/{run_id}/checkout": "401 404 200 200 200",
    "GET /runs/{run_id}/checkout.diff": "401 404 200 200 200",
    "GET /runs/{run_id}/archive": "401 404 200 200 200",
    "POST /runs/import": "401 422 422 403 422",  # of what is no archive
    "GET /artifacts/{artifact_id}": "401 404 200 200 200",
    "GET /filters/fields": "401 200 200 200 200",
    "GET /views": "401 200 200 200 200",
    "POST /views": "401 201 201 403 201",
    "DELETE /views/{view_id}": "401 404 204 403 404",
    "POST /experiments": "401 201 201 403 201",
    "POST /experiments/estimate": "401 200 200 403 200",
    "GET /experiments": "401 200 200 200 200",
    "GET /experiments/{experiment_id}": "401 404 200 200 200",
    "GET /experiments/{experiment_id}/report.md": "401 404 200 200 200",
    "POST /experiments/{experiment_id}/cancel": "401 404 202 403 202",
    "DELETE /experiments/{experiment_id}": "401 404 204 403 204",
    "GET /queue": "401 200 200 200 200",
    "GET /compare?run={run_id}": "401 404 200 200 200",
    "GET /stream": "401 200 200 200 200",
    "GET /stream?run={run_id}": "401 404 200 200 200",
    "POST /datasets": "401 201 201 403 201",
    "GET /datasets": "401 200 200 200 200",
    "GET /datasets/{name_or_id}": "401 200 200 200 200",
    "GET /datasets/{name_or_id}/preview": "401 200 200 200 200",
    "DELETE /datasets/{name_or_id}": "401 403 204 403 204",
    "GET /schema/experiment": "401 200 200 200 200",
    "GET /schema/run": "401 200 200 200 200",
    "GET /presets": "401 200 200 200 200",
    "POST /session": "401 401 401 401 401",  # with a wrong code
    "DELETE /session": "401 204 204 204 204",
    "POST /login-codes": "401 201 201 201 201",
    "POST /tokens": "401 201 201 201 201",
    "GET /tokens": "401 200 200 200 200",
    "GET /tokens?user={user}": "401 403 403 403 200",
    "DELETE /tokens/{token_id}": "401 404 204 404 204",
    "POST /users": "401 403 403 403 201",
    "GET /users": "401 403 403 403 200",
    "GET /users/{user}": "401 403 403 403 200",
    "PATCH /users/{user}": "401 403 403 403 200",
    "GET /audit": "401 403 403 403 200",
    "POST /webhooks": "401 201 201 403 201",
    "GET /webhooks": "401 200 200 200 200",
    "POST /webhooks/{webhook_id}/enable": "401 404 200 403 404",
    "POST /webhooks/{webhook_id}/test": "401 404 202 403 404",
    "GET /webhooks/{webhook_id}/deliveries": "401 404 200 404 404",
    "DELETE /webhooks/{webhook_id}": "401 404 204 403 404",
    "GET /health": "200 200 200 200 200",
    "GET /ready": "401 200 200 200 200",
    "GET /version": "401 200 200 200 200",
    "GET /workers": "401 200 200 200 200",
    "POST /workers/{worker_id}/drain": "401 403 403 403 200",
    "POST /workers/{worker_id}/undrain": "401 403 403 403 200",
    "GET /me": "401 200 200 200 200",
    "GET //openapi.json": "401 200 200 200 200",
    "HEAD //openapi.json": "401 200 200 200 200",
    "GET //metrics": "401 200 200 200 200",
    "POST //login": "401 401 401 401 401",  # without a token
    "GET //login/oidc": "404 404 404 404 404",  # where no provider is set
    "GET //login/oidc/callback": "404 404 404 404 404",
    "GET //login": "401 401 401 401 401",  # without a code
    "GET //{path:page}": "401 200 200 200 200",
    "HEAD //{path:page}": "401 200 200 200 200",
}
COUNT = itertools.count()
CLEAN = Whole(CheckoutDetails("c" * 40, "main", "", 0, 0, 0, 0, "0" * 64, (), ()), b"")
EXPERIMENT = {"name": "e", "margin": 2, "seeds": 1, "variants": {"a": {}, "b": {}}}


def puzzles():
    """A file of a content of its own."""
    return f"source,q,a,rating\ntest,0234341221434321,1234341221434321,{next(COUNT)}\n".encode()


def body(line):
    """What the request of a line sends."""
    sent = {
        "POST /runs": {"json": {"kind": "train"}},
        "POST /runs/{run_id}/metrics": {"json": {"epoch": 1, "series": [{"key": "m", "steps": [1], "values": [0.5]}]}},
        "PATCH /runs/{run_id}": {"json": {"add_tags": ["seen"]}},
        "POST /views": {"json": {"name": "mine"}},
        "POST /experiments": {"json": EXPERIMENT},
        "POST /experiments/estimate": {"json": EXPERIMENT},
        "POST /runs/import": {"content": b"no zip", "headers": {"Content-Type": "application/zip"}},
        "POST /webhooks": {"json": {"url": "https://example.org/hook"}},
        "POST /users": {"json": {"name": f"user {next(COUNT)}"}},
        "PATCH /users/{user}": {"json": {"role": "viewer"}},
        "POST /tokens": {"json": {"name": "mine"}},
        "POST /session": {"json": {"code": "guess"}},
        "POST /datasets": {"files": {"file": (f"{next(COUNT)}.csv", puzzles())}},
    }
    return sent.get(line, {})


@pytest.fixture
def tokens(engine):
    """A token of every speaker but nobody, by name."""
    roles = {"foreign": "member", "owner": "member", "viewer": "viewer", "admin": "admin"}
    return {name: access.create_token(engine, users.add(engine, name, role).id) for name, role in roles.items()}


@pytest.fixture
def make(engine, settings, tokens):
    """Makes anew what a parameter of an address names: all of it the owner's."""
    owner = users.get(engine, "owner").id

    def run_id():
        run, _ = submit.create_run(engine, parse_run({"kind": "train"}), owner, request=Request(checkout=CLEAN))
        return runs.request_cancel(engine, run.id).id

    def artifact_id():
        found = run_id()
        (settings.artifacts_dir / found).mkdir(parents=True)
        (settings.artifacts_dir / found / "report.json").write_text("{}")
        values = {"id": f"a_{next(COUNT)}", "kind": "report", "folder": "", "name": "report.json", "step": 0}
        with engine.begin() as connection:
            number = connection.execute(sa.select(run_table.c.number).where(run_table.c.id == found)).scalar()
            values |= {"run": number, "sha256": "a" * 64, "created_at": 0.0}
            connection.execute(sa.insert(artifacts).values(values))
        return values["id"]

    def worker_id():
        workers.register(engine, f"w{next(COUNT)}", "host", 7, 1, "cpu", "1")
        return workers.list_workers(engine)[0].id

    def experiment_id():
        made, _ = experiments.create(engine, parse_experiment(EXPERIMENT), owner)
        return experiments.cancel(engine, made.id).id

    def webhook_id():
        for one in webhooks.list_webhooks(engine, owner):  # few are allowed
            webhooks.delete(engine, owner, one.id)
        return webhooks.add(engine, owner, "https://example.org/hook")[0].id

    makers = {
        "run_id": run_id,
        "experiment_id": experiment_id,
        "artifact_id": artifact_id,
        "name_or_id": lambda: datasets.add(engine, settings, f"{next(COUNT)}.csv", io.BytesIO(puzzles()), owner)[0].id,
        "user": lambda: users.add(engine, f"user {next(COUNT)}", "member").id,
        "view_id": lambda: views.save(engine, owner, f"view {next(COUNT)}").id,
        "webhook_id": webhook_id,
        "token_id": lambda: access.issue(engine, owner)[0].id,
        "worker_id": worker_id,
        "path:page": lambda: "anything",
    }
    return lambda parameter: makers[parameter]()


@pytest.fixture
def ask(app, nobody, tokens, make, tmp_path):
    """Sends the request of a line of the table as a speaker."""
    (tmp_path / "index.html").write_text("page")
    app.state.settings = app.state.settings.model_copy(update={"web_dir": tmp_path})
    app.state.streams.closing.set()  # streams end after their first look

    def ask(line, speaker, **named):
        method, path = line.split(" ")
        for parameter in parameters(path):
            path = path.replace("{" + parameter + "}", named.get(parameter) or make(parameter))
        headers = {"Accept": "text/html"} if "page" in line else {}
        if speaker in tokens:
            headers["Authorization"] = f"Bearer {tokens[speaker]}"
        nobody.cookies.clear()
        address = path[1:] if path.startswith("//") else BASE + path
        sent = body(line)
        return nobody.request(method, address, **sent | {"headers": headers | sent.get("headers", {})})

    return ask


def parameters(path):
    return [piece.partition("}")[0] for piece in path.split("{")[1:]]


def lines(routes):
    """Every route and method of the app, as the table writes them."""
    for route in routes:
        if hasattr(route, "effective_candidates"):  # a router inside
            yield from lines(route.effective_candidates())
        else:
            path = route.path.removeprefix(BASE) if route.path.startswith(f"{BASE}/") else f"/{route.path}"
            yield from (f"{method} {path}" for method in route.methods)


def test_every_route_is_in_the_table(app):
    found = set(lines(app.routes))
    assert len(found) > 40
    assert {line.partition("?")[0] for line in TABLE} == found


def test_every_route_and_method_for_every_speaker(ask):
    wrong = []
    for line, expected in TABLE.items():
        for speaker, status in zip(SPEAKERS, expected.split(), strict=True):
            response = ask(line, speaker)
            if response.status_code != int(status):
                wrong.append((line, speaker, status, response.status_code, response.text[:200]))
            if response.status_code == 403:
                assert len(response.json()["detail"]) > 20, line
    assert not wrong


@pytest.mark.parametrize("parameter", ["run_id", "experiment_id", "artifact_id", "token_id", "view_id", "webhook_id"])
def test_what_is_foreign_is_told_like_what_never_was(ask, make, parameter):
    checked = [line for line in TABLE if "{" + parameter + "}" in line]
    assert checked
    for line in checked:
        there, unknown = make(parameter), "r_aaaaaaaaaaaa"
        foreign, absent = (ask(line, "foreign", **{parameter: id}) for id in (there, unknown))
        assert foreign.status_code == absent.status_code == 404
        assert foreign.json()["detail"] == absent.json()["detail"].replace(unknown, there), line


def test_lists_and_streams_show_members_their_own(ask, engine, make):
    run_id = make("run_id")
    for speaker, sees in (("foreign", False), ("owner", True), ("viewer", True), ("admin", True)):
        page = ask("GET /runs", speaker).json()
        assert [(run["id"], run["owner_name"]) for run in page["items"]] == [(run_id, "owner")] * sees
        assert page["total"] == sees
        assert (run_id in ask("GET /stream", speaker).text) is sees


def test_a_foreign_checkpoint_is_no_checkpoint(nobody, tokens, make):
    run_id = make("run_id")

    def evaluate(speaker, checkpoint):
        headers = {"Authorization": f"Bearer {tokens[speaker]}"}
        sent = {"kind": "eval", "checkpoint": checkpoint}
        return nobody.post(f"{BASE}/runs", json=sent, headers=headers).json()["detail"]

    unknown = evaluate("foreign", "r_aaaaaaaaaaaa")
    assert evaluate("foreign", run_id) == unknown.replace("r_aaaaaaaaaaaa", run_id)
    for speaker in ("owner", "admin"):  # they may see that it has no checkpoint
        assert "without a checkpoint" in evaluate(speaker, run_id)


def test_others_are_named_by_admins_alone(nobody, tokens):
    for speaker, status in (("foreign", 403), ("viewer", 403), ("admin", 201)):
        headers = {"Authorization": f"Bearer {tokens[speaker]}"}
        for path, sent in (("tokens", {"name": "x", "user": "owner"}), ("login-codes", {"user": "owner"})):
            assert nobody.post(f"{BASE}/{path}", json=sent, headers=headers).status_code == status


def test_a_parameter_without_a_guard_stops_the_app():
    router = APIRouter()
    router.add_api_route("/things/{thing_id}", lambda thing_id: thing_id)
    with pytest.raises(LookupError, match="thing_id"):
        guards.require_guards(router.routes)
