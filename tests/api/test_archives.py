"""Runs out of one installation and into another; archives that lie."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile

import numpy as np
import pytest
import sqlalchemy as sa

from api.app import create_app
from store import claims, notes, runs
from store.settings import Settings
from store.tables import artifacts
from tests.api.conftest import BASE, TestClient
from tests.api.test_checkouts import CHECKOUT, DIFF

SHA = hashlib.sha256(b"weights").hexdigest()
OWN = ("id", "number", "owner", "owner_name", "worker_id", "device", "updated_at", "imported_from")


@pytest.fixture
def ended(finished, engine):
    """A run whose checkpoint is what its sha256 says."""
    run_id = finished(name="first", tags=["b", "a"], seed=7, store={"kind": "laser", "energy": 0.9})
    with engine.begin() as connection:
        connection.execute(sa.update(artifacts).values(sha256=SHA))
    notes.change(engine, run_id, ["later"], note="# Seen\n\n*twice*")
    return run_id


@pytest.fixture
def elsewhere(tmp_path):
    """A client of another installation."""
    settings = Settings(home=tmp_path / "elsewhere")
    app = create_app(settings)
    token = settings.token_file.read_text().strip()
    with TestClient(app, base_url=f"{BASE}/api/v1", headers={"Authorization": f"Bearer {token}"}) as client:
        yield client
    app.state.doorbell.close()


def take(client, content):
    return client.post("runs/import", content=content, headers={"Content-Type": "application/zip"})


def facts(client, run_id):
    """Everything that may be asked about a run, but for what is this installation's own."""
    run = {name: value for name, value in client.get(f"runs/{run_id}").json().items() if name not in OWN}
    asked = ("metrics", "metrics.csv", "traces", "memory", "events", "logs")
    answers = {what: client.get(f"runs/{run_id}/{what}").text for what in asked}
    files = client.get(f"runs/{run_id}/artifacts").json()["items"]
    kept = {
        (f["kind"], f["folder"], f["name"], f["step"], f["sha256"], f["size_bytes"], f["created_at"]) for f in files
    }
    return run, answers, kept, {client.get(f"artifacts/{f['id']}").content for f in files}


def test_a_run_elsewhere_is_equal_and_of_its_importer(api, ended, elsewhere):
    response = api.get(f"runs/{ended}/archive")
    assert response.headers["content-disposition"] == f'attachment; filename="{ended}.laser.zip"'
    assert zipfile.ZipFile(io.BytesIO(response.content)).testzip() is None
    taken = take(elsewhere, response.content)
    assert taken.status_code == 201, taken.text
    run = taken.json()
    assert taken.headers["location"] == f"/api/v1/runs/{run['id']}"
    assert run["imported_from"]["id"] == ended
    assert (run["owner_name"], run["state"], run["worker_id"]) == ("local", "succeeded", None)
    assert facts(elsewhere, run["id"]) == facts(api, ended)
    assert facts(elsewhere, run["id"])[3] == {b"weights"}
    again = take(elsewhere, response.content)
    assert (again.status_code, again.json()["id"]) == (200, run["id"])
    assert elsewhere.get("runs").json()["total"] == 1
    assert [entry["action"] for entry in elsewhere.get("audit").json()["items"]].count("run.import") == 1


def test_an_archive_of_an_imported_run_is_the_same_archive(api, ended, elsewhere):
    content = api.get(f"runs/{ended}/archive").content
    assert api.get(f"runs/{ended}/archive").content == content
    run_id = take(elsewhere, content).json()["id"]
    assert elsewhere.get(f"runs/{run_id}/archive").content == content


def test_numpy_reads_its_curves(api, ended):
    archive = zipfile.ZipFile(io.BytesIO(api.get(f"runs/{ended}/archive").content))
    keys = [curve["key"] for curve in json.loads(archive.read("metrics.json"))]
    points = np.load(io.BytesIO(archive.read(f"metrics/{keys.index('train.loss'):04}.npy")), allow_pickle=False)
    assert points["step"].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(points["value"], [2.0, np.nan, 1.0])


def test_only_what_has_ended_is_exported(api, started):
    refused = api.get(f"runs/{started()}/archive")
    assert refused.status_code == 409
    assert "only a run that has ended" in refused.json()["detail"]


def test_a_failed_run_and_an_analysis_report_travel_too(api, started, engine, elsewhere):
    run_id = started()
    claims.finish(engine, run_id, 1, "failed", "out of memory")
    run = take(elsewhere, api.get(f"runs/{run_id}/archive").content).json()
    assert (run["state"], run["reason"]) == ("failed", "out of memory")
    assert facts(elsewhere, run["id"]) == facts(api, run_id)


# --- archives that lie -------------------------------------------------------------------------------------------------


def rewritten(content, changes=None, names=None, extra=None):
    """The archive with entries replaced (None leaves one out) or renamed, extra ones added, and a fitting manifest."""
    source = zipfile.ZipFile(io.BytesIO(content))
    entries = {name: source.read(name) for name in source.namelist()} | (changes or {}) | (extra or {})
    entries = {(names or {}).get(name, name): data for name, data in entries.items() if data is not None}
    if "manifest.json" not in (changes or {}):
        listed = {n: {"sha256": hashlib.sha256(d).hexdigest(), "size_bytes": len(d)} for n, d in entries.items()}
        listed.pop("manifest.json")
        entries["manifest.json"] = json.dumps(listed).encode()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return target.getvalue()


def edited(content, name, edit):
    """The archive with a JSON document changed."""
    value = json.loads(zipfile.ZipFile(io.BytesIO(content)).read(name))
    edit(value)
    return rewritten(content, {name: json.dumps(value).encode()})


def renamed_file(value, name):
    value["files"][0]["name"] = name


WEIGHTS = "files/checkpoints/step-00000003/model.safetensors"
LIES = {
    "no zip": (lambda c: b"PK" + b"x" * 500, "isn't one that"),
    "cut off": (lambda c: c[:-300], "isn't one that"),
    "a changed byte": (lambda c: c.replace(b"weights", b"wEights", 1), "zip file"),
    "a changed file": (lambda c: rewritten(c, {WEIGHTS: b"others"}), "its sha256 isn't the run's"),
    "a stale manifest": (
        lambda c: rewritten(
            c, {WEIGHTS: b"others!", "manifest.json": zipfile.ZipFile(io.BytesIO(c)).read("manifest.json")}
        ),
        "is damaged",
    ),
    "zip slip": (lambda c: rewritten(c, names={WEIGHTS: "../../../evil"}), "doesn't belong"),
    "an absolute path": (lambda c: rewritten(c, extra={"/etc/cron.d/x": b"x"}), "doesn't belong"),
    "slip in run.json": (lambda c: edited(c, "run.json", lambda v: renamed_file(v, "../../x")), "files.0.name"),
    "a hidden name": (lambda c: edited(c, "run.json", lambda v: renamed_file(v, ".trainer")), "files.0.name"),
    "no events": (lambda c: rewritten(c, {"events.jsonl": None}), "events.jsonl"),
    "a missing event": (
        lambda c: rewritten(
            c, {"events.jsonl": zipfile.ZipFile(io.BytesIO(c)).read("events.jsonl").split(b"\n", 1)[1]}
        ),
        "expected event 1",
    ),
    "an odd event": (
        lambda c: rewritten(
            c, {"events.jsonl": b'{"seq":1,"time":1,"kind":"log","epoch":0,"data":{"level":"info"}}\n'}
        ),
        "message",
    ),
    "a wrong config": (lambda c: edited(c, "config.json", lambda v: v["training"].update(steps=0)), "training.steps"),
    "a run that goes on": (lambda c: edited(c, "run.json", lambda v: v.update(state="running")), "state"),
    "another format": (lambda c: edited(c, "run.json", lambda v: v.update(format=2)), "format"),
    "a step too large": (lambda c: edited(c, "run.json", lambda v: v.update(step=2**70)), "too large"),
    "pickled points": (lambda c: rewritten(c, {"metrics/0000.npy": pickled()}), "points of"),
    "falling steps": (lambda c: rewritten(c, {"metrics/0001.npy": points([3, 2, 1])}), "steps that rise"),
    "too few points": (lambda c: rewritten(c, {"metrics/0001.npy": points([1, 2])}), "expected 3 points"),
    "a huge document": (lambda c: rewritten(c, {"run.json": b" " * (8 * 2**20 + 1)}), "run.json"),
    "a bomb": (lambda c: rewritten(c, extra={"files/x": b"\0" * (21 * 2**20)}), "unpacks to more than 20 MiB"),
    "too many entries": (
        lambda c: rewritten(c, extra={f"files/{i}" + "x" * 90: b"" for i in range(30_000)}),
        "too many entries",
    ),
}


@pytest.fixture
def from_checkout(api, engine):
    """A run that was submitted from a checkout."""
    run_id = api.post("runs", json={"config": {"kind": "train"}, "checkout": CHECKOUT}).json()["id"]
    return runs.request_cancel(engine, run_id).id


def test_the_checkout_travels_too(api, from_checkout, elsewhere):
    content = api.get(f"runs/{from_checkout}/archive").content
    assert zipfile.ZipFile(io.BytesIO(content)).read("checkout.diff") == DIFF
    run_id = take(elsewhere, content).json()["id"]
    assert facts(elsewhere, run_id) == facts(api, from_checkout)
    for name in ("checkout", "checkout.diff"):
        assert elsewhere.get(f"runs/{run_id}/{name}").content == api.get(f"runs/{from_checkout}/{name}").content
    assert elsewhere.get(f"runs/{run_id}/archive").content == content


def test_an_archive_of_before_checkouts_is_taken(api, ended, elsewhere):
    content = edited(api.get(f"runs/{ended}/archive").content, "run.json", lambda value: value.pop("checkout"))
    assert take(elsewhere, content).json()["checkout"] is None


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        (lambda c: rewritten(c, {"checkout.diff": b"another"}), "isn't the one that run.json tells of"),
        (lambda c: rewritten(c, {"checkout.diff": None}), "checkout.diff"),
        (lambda c: edited(c, "run.json", lambda v: v.pop("checkout")), "doesn't belong"),
        (lambda c: edited(c, "run.json", lambda v: v["checkout"].update(commit="main")), "checkout.commit"),
        (lambda c: edited(c, "run.json", lambda v: v["checkout"].update(size_bytes=2**30)), "checkout.size_bytes"),
    ],
)
def test_a_checkout_that_lies_leaves_nothing(lie, told, api, from_checkout, elsewhere):
    refused = take(elsewhere, lie(api.get(f"runs/{from_checkout}/archive").content))
    assert refused.status_code == 422, refused.text
    assert told in refused.json()["detail"]
    assert elsewhere.get("runs").json()["total"] == 0


def points(steps):
    array = np.zeros(len(steps), [("step", "<i8"), ("value", "<f8")])
    array["step"] = steps
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def pickled():
    file = io.BytesIO()
    np.save(file, np.array([{"not": "numbers"}], dtype=object))
    return file.getvalue()


@pytest.mark.parametrize("lie", LIES)
def test_an_archive_that_lies_leaves_nothing(lie, app, api, ended, elsewhere, tmp_path):
    make, told = LIES[lie]
    content = make(api.get(f"runs/{ended}/archive").content)
    state = elsewhere.app.state
    state.settings = state.settings.model_copy(update={"max_archive_bytes": 20 * 2**20})
    refused = take(elsewhere, content)
    assert refused.status_code == 422, refused.text
    assert told in refused.json()["detail"]
    assert elsewhere.get("runs").json()["total"] == 0
    assert not list((tmp_path / "elsewhere").glob("artifacts/*"))
    assert not list(tmp_path.rglob("evil"))


def test_limits_and_types(elsewhere):
    state = elsewhere.app.state
    state.settings = state.settings.model_copy(update={"max_archive_bytes": 1000})
    assert take(elsewhere, b"x" * 1001).status_code == 413
    assert elsewhere.post("runs/import", content=b"{}").status_code == 415
