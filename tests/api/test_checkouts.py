"""What runs are submitted from, over HTTP."""

from __future__ import annotations

import base64
import hashlib

import pytest

from store.checkouts import DIFF_BYTES

DIFF = b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-caf\xe9\n+<b>\x1b[31m\n"
CHECKOUT = {
    "commit": "c" * 40,
    "branch": "main",
    "remote": "https://host/x.git",
    "changed": 2,
    "untracked": 1,
    "left_out": 1,
    "untracked_names": ["notes.txt"],
    "left_out_files": [{"path": ".env", "why": "looks like a secret"}],
    "diff": base64.b64encode(DIFF).decode(),
}
SHORT = {name: CHECKOUT[name] for name in ("commit", "branch", "remote", "changed", "untracked", "left_out")}
SHORT |= {"size_bytes": len(DIFF), "sha256": hashlib.sha256(DIFF).hexdigest()}
TRAIN = {"kind": "train"}


def test_it_is_part_of_the_run_and_its_changes_are_fetched_apart(api):
    made = api.post("runs", json={"config": TRAIN, "checkout": CHECKOUT})
    assert made.status_code == 201, made.text
    run = made.json()
    assert run["checkout"] == api.get(f"runs/{run['id']}").json()["checkout"] == SHORT
    assert "checkout" not in run["config"]
    assert "checkout" not in api.get("runs").json()["items"][0]
    whole = api.get(f"runs/{run['id']}/checkout").json()
    names = {name: CHECKOUT[name] for name in ("untracked_names", "left_out_files")}
    assert whole == {"details": SHORT | names, "diff": DIFF.decode(errors="replace")}
    exact = api.get(f"runs/{run['id']}/checkout.diff")
    assert (exact.content, exact.headers["content-type"]) == (DIFF, "application/octet-stream")
    assert exact.headers["content-disposition"] == f'attachment; filename="{run["id"]}.diff"'


def test_the_configuration_alone_has_none(api):
    run = api.post("runs", json=TRAIN).json()
    assert run["checkout"] is None
    for address in ("checkout", "checkout.diff"):
        missing = api.get(f"runs/{run['id']}/{address}")
        assert missing.status_code == 404
        assert "has no checkout" in missing.json()["detail"]


def test_a_clone_has_that_of_who_clones(api):
    run = api.post("runs", json={"config": TRAIN, "checkout": CHECKOUT}).json()
    assert api.post(f"runs/{run['id']}/clone").json()["checkout"] is None
    other = CHECKOUT | {"commit": "d" * 64}
    later = api.post(f"runs/{run['id']}/clone", json={"config": {"seed": 5}, "checkout": other}).json()
    assert (later["config"]["seed"], later["checkout"]["commit"]) == (5, "d" * 64)


def test_runs_of_an_experiment_have_it(api):
    config = {"name": "e", "margin": 2, "seeds": 1, "variants": {"a": {}, "b": {}}}
    made = api.post("experiments", json={"config": config, "checkout": CHECKOUT}).json()
    runs = api.get("runs", params={"tag": made["id"]}).json()["items"]
    assert [api.get(f"runs/{run['id']}").json()["checkout"] for run in runs] == [SHORT] * 2


def test_the_largest_that_is_taken(api):
    diff = bytes(range(256)) * (DIFF_BYTES // 256)
    sent = CHECKOUT | {"diff": base64.b64encode(diff).decode()}
    run = api.post("runs", json={"config": TRAIN, "checkout": sent}).json()
    assert api.get(f"runs/{run['id']}/checkout.diff").content == diff


@pytest.mark.parametrize(
    ("change", "field", "told"),
    [
        ({"diff": base64.b64encode(bytes(DIFF_BYTES + 1)).decode()}, "checkout.diff", "at most 262144 bytes"),
        ({"diff": "no base64!"}, "checkout.diff", "base64"),
        ({"commit": "main"}, "checkout.commit", "pattern"),
        ({"branch": "x" * 301}, "checkout.branch", "at most 300"),
        ({"branch": "a\x1b[31m"}, "checkout.branch", "control character U+001B"),
        ({"changed": -1}, "checkout.changed", "greater than or equal to 0"),
        ({"changed": "1"}, "checkout.changed", "valid integer"),
        ({"untracked_names": ["x"] * 201}, "checkout.untracked_names", "at most 200"),
        ({"left_out_files": [{"path": "x"}]}, "checkout.left_out_files.0.why", "required"),
        ({"more": 1}, "checkout.more", "not permitted"),
    ],
)
def test_what_is_refused_names_its_field(api, change, field, told):
    refused = api.post("runs", json={"config": TRAIN, "checkout": CHECKOUT | change})
    assert refused.status_code == 422
    (problem,) = refused.json()["errors"]
    assert problem["field"] == field
    assert told in problem["message"]
    assert api.get("runs").json()["total"] == 0


def test_other_mistakes(api, app):
    wrong = api.post("runs", json={"config": {"kind": "train", "training": {"steps": 0}}, "checkout": CHECKOUT})
    assert [problem["field"] for problem in wrong.json()["errors"]] == ["training.steps"]
    assert "checkout" in api.post("runs", json={"config": TRAIN}).json()["detail"]
    app.state.settings = app.state.settings.model_copy(update={"max_body_bytes": 1000})
    assert api.post("runs", json={"config": TRAIN, "checkout": CHECKOUT | {"diff": "a" * 1200}}).status_code == 413
