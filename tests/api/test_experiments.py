"""Experiments over REST: one body makes all runs; the report as JSON and as a page."""

from __future__ import annotations

import json

import pytest

from laser_core.config import parse_run
from store import claims
from store.states import State

CONFIG = {
    "name": "plain | <b>laser</b>", "margin": 2.0, "seeds": 6, "base": {"training": {"steps": 10}},
    "variants": {"none": {"store": {"kind": "none"}}, "laser": {"store": {"kind": "laser"}}},
}  # fmt: skip


@pytest.fixture
def made(api):
    return api.post("experiments", json=CONFIG).json()


@pytest.fixture
def ended(made, engine, settings):
    """The experiment's id, all runs done: equal but for the tenth of the bytes that laser holds."""
    while claim := claims.claim_run(engine, "w", 20, settings=settings):
        config = parse_run(claim.config)
        claims.mark_running(engine, claim.run_id, 1)
        values = {"exact_accuracy": 0.9 + config.seed / 100, "puzzles": 1000, "eager_bytes": 1000, "step_time_s": 1.0}
        values["saved_bytes"] = 100 if config.store.kind == "laser" else 1000
        claims.finish(engine, claim.run_id, 1, State.succeeded, result={"values": values})
    return made["id"]


def test_one_body_makes_every_run(api, made):
    assert (made["runs"], made["states"], made["margin"]) == (12, {"queued": 12}, 2.0)
    assert api.get("runs", params={"tag": made["id"]}).json()["total"] == 12
    assert [each["id"] for each in api.get("experiments").json()["items"]] == [made["id"]]
    assert api.get(f"experiments/{made['id']}").json()["sentence"] == "No run is done yet."


def test_the_same_key_again(api):
    first, again = (api.post("experiments", json=CONFIG, headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert first.headers["location"] == f"/api/v1/experiments/{first.json()['id']}"
    other = api.post("experiments", json=CONFIG | {"margin": 3}, headers={"Idempotency-Key": "k"})
    assert other.status_code == 409


def test_an_estimate_queues_nothing(api, ended):
    told = api.post("experiments/estimate", json=CONFIG).json()
    assert (told["runs"], told["work_s"], told["most_saved_bytes"]) == (12, 120.0, 1000.0)
    assert len(api.get("experiments").json()["items"]) == 1


def test_faults_are_named(api):
    answer = api.post("experiments", json=CONFIG | {"margin": "much", "seeds": 2.5, "why": 1})
    assert answer.status_code == 422
    assert {error["field"] for error in answer.json()["errors"]} == {"margin", "seeds", "why"}
    assert (
        api.post("experiments", json=CONFIG | {"seeds": 1000})
        .json()["errors"][0]["message"]
        .startswith("makes 2,000 runs")
    )
    assert api.post("experiments", json=[]).status_code == 422
    assert api.get("runs").json()["total"] == 0


def test_the_margin_cant_be_changed(api, made):
    for method in ("PUT", "PATCH"):
        assert api.request(method, f"experiments/{made['id']}", json={"margin": 9}).status_code == 405


def test_the_report_and_its_page_agree(api, ended):
    report = api.get(f"experiments/{ended}").json()
    assert report["is_over"]
    assert report["verdicts"][0]["verdict"] == "equivalent"
    assert report["verdicts"][0]["paired_t"]["statistic"] == 0.0  # no difference at all
    assert [group["metric"]["count"] for group in report["groups"]] == [6, 6]
    answer = api.get(f"experiments/{ended}/report.md")
    assert answer.headers["content-type"].startswith("text/markdown")
    assert "attachment" in answer.headers["content-disposition"]
    page = answer.text
    assert "## laser against none: equivalent" in page
    assert (
        "| laser | 6 of 6 | 92.50 (90.54 to 94.46) | 0.1 (0.1 to 0.1) | 10.0 % | 1000.0 (1000.0 to 1000.0) | on it |"
        in page
    )
    assert "# plain | \\<b\\>laser\\</b\\>" in page  # a name is a name
    json.dumps(report, allow_nan=False)


def test_cancel_and_delete(api, made):
    assert api.delete(f"experiments/{made['id']}").status_code == 409
    assert api.post(f"experiments/{made['id']}/cancel").json()["states"] == {"cancelled": 12}
    assert api.delete(f"experiments/{made['id']}").status_code == 204
    assert api.get(f"experiments/{made['id']}").status_code == 404
    assert api.get("runs").json()["total"] == 0


def test_the_schema_describes_every_field(api):
    schema = api.get("schema/experiment").json()
    fields = schema["$defs"]["ExperimentConfig"]["properties"]
    assert set(fields) == {"name", "margin", "variants", "seeds", "base", "baseline", "metric", "sweep"}
    assert all(field["description"] for field in fields.values())
