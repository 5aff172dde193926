"""Curves, traces, memory, logs, events, files and comparisons of a run that a worker reported on."""

from __future__ import annotations

from laser_core.events import Started
from store.ingest import ingest


def test_curves_hold_null_for_nan(api, finished):
    run_id = finished()
    series = api.get(f"runs/{run_id}/metrics").json()["series"]
    assert [one["key"] for one in series] == ["test.exact_accuracy", "train.loss"]
    assert series[1] == {"key": "train.loss", "steps": [1, 2, 3], "values": [2.0, None, 1.0], "count": 3}
    some = api.get(f"runs/{run_id}/metrics", params={"keys": "train.loss,other", "after_step": 2}).json()["series"]
    assert some == [{"key": "train.loss", "steps": [3], "values": [1.0], "count": 1}]
    run = api.get(f"runs/{run_id}").json()
    assert run["latest"] == {"train.loss": 1.0, "test.exact_accuracy": 0.5}
    assert run["result"]["values"] == {"exact_accuracy": 0.5, "loss": None}
    assert (run["state"], run["step"], run["steps"], run["step_time_s"]) == ("succeeded", 3, 3, 0.25)
    assert api.get("runs").json()["items"][0]["id"] == run_id


def test_the_export_has_every_point(api, finished):
    run_id = finished()
    response = api.get(f"runs/{run_id}/metrics.csv")
    assert response.headers["content-disposition"].startswith("attachment")
    assert response.text.splitlines() == [
        "key,step,value",
        "test.exact_accuracy,3,0.5",
        "train.loss,1,2.0",
        "train.loss,2,nan",
        "train.loss,3,1.0",
    ]
    some = api.get(f"runs/{run_id}/metrics.csv", params={"keys": "test.exact_accuracy,other"}).text
    assert some.splitlines() == ["key,step,value", "test.exact_accuracy,3,0.5"]


def test_traces_are_columns(api, finished):
    run_id = finished()
    assert api.get(f"runs/{run_id}/traces").json()["sites"] == [
        {
            "site": "layers.0.qkv",
            "width": 16,
            "steps": [2, 3],
            "ranks": [4, 8],
            "fidelities": [0.9, 0.99],
            "drifts": [None, 0.1],
            "saved_bytes": [256, 512],
            "events": ["init", "grow"],
        }
    ]
    assert api.get(f"runs/{run_id}/traces", params={"after_step": 3}).json()["sites"] == []


def test_memory_is_the_newest_or_empty(api, finished):
    run_id = finished()
    assert api.get(f"runs/{run_id}/memory").json() == {
        "step": 3,
        "saved_bytes": 500,
        "eager_bytes": 1000,
        "sites": [{"site": "layers.0.qkv", "kind": "linear", "saved_bytes": 500, "recursion_step": -1}],
    }
    other = api.post("runs", json={"kind": "train"}).json()["id"]
    assert api.get(f"runs/{other}/memory").json()["step"] is None


def test_the_spectrum_is_that_of_the_update_in_force(api, finished):
    run_id, site = finished(), "layers.0.qkv"
    newest = api.get(f"runs/{run_id}/spectrum", params={"site": site}).json()
    assert newest == {
        "site": site, "step": 3, "event": "grow", "rank": 8, "width": 16, "energies": [3.0, 2.0], "fidelities": [],
    }  # fmt: skip
    assert api.get(f"runs/{run_id}/spectrum", params={"site": site, "step": 2}).json()["energies"] == [3.0, 1.0]
    assert api.get(f"runs/{run_id}/spectrum", params={"site": site, "step": 1}).status_code == 404
    assert api.get(f"runs/{run_id}/spectrum", params={"site": "no\0where"}).status_code == 404


def test_events_and_logs_go_on_after_a_number(api, finished):
    run_id = finished()
    items = api.get(f"runs/{run_id}/events").json()["items"]
    assert [event["seq"] for event in items] == list(range(1, len(items) + 1))
    assert {"state", "log", "metrics", "traces", "memory", "checkpoint", "result"} <= {e["kind"] for e in items}
    assert api.get(f"runs/{run_id}/events", params={"after": 2, "limit": 2}).json()["items"] == items[2:4]
    (line,) = api.get(f"runs/{run_id}/logs").json()["items"]
    assert (line["message"], line["level"]) == ("hello", "info")
    assert api.get(f"runs/{run_id}/logs", params={"tail": True, "limit": 1}).json()["items"] == [line]
    assert api.get(f"runs/{run_id}/logs", params={"after": line["seq"]}).json()["items"] == []


def test_files_are_attachments_by_id(api, finished, settings):
    run_id = finished()
    (artifact,) = api.get(f"runs/{run_id}/artifacts").json()["items"]
    assert (artifact["name"], artifact["size_bytes"]) == ("model.safetensors", 7)
    response = api.get(f"artifacts/{artifact['id']}")
    assert response.content == b"weights"
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"].startswith("attachment;")
    (settings.artifacts_dir / run_id / "checkpoints" / "step-00000003" / "model.safetensors").unlink()
    assert api.get(f"artifacts/{artifact['id']}").status_code == 404


def test_no_address_leads_out_of_the_artifacts(api, subtests):
    for name in ["..%2F..%2Ftoken", "%252e%252e", "a%00", "..%5ctoken", "%2Fetc%2Fpasswd", "a;b", "%23"]:
        with subtests.test(name=name):
            assert api.get(f"artifacts/{name}").status_code == 404


def test_comparing_pairs_by_seed(api, finished):
    one, two = finished(seed=1), finished(seed=1, store={"kind": "laser"})
    comparison = api.get("compare", params={"run": [one, two, one]}).json()
    assert {group["store"] for group in comparison["groups"]} == {"none", "laser"}
    assert comparison["pairings"][0]["pairs"][0]["seed"] == 1
    assert comparison["summary"]
    assert api.get("compare").status_code == 422
    assert api.get("compare", params={"run": "r_missing"}).status_code == 404


def test_a_missing_run_is_404(api, subtests):
    for what in ["", "/metrics", "/metrics.csv", "/traces", "/memory", "/logs", "/events", "/artifacts"]:
        with subtests.test(what=what):
            response = api.get(f"runs/r_missing{what}")
            assert response.status_code == 404
            assert response.headers["content-type"] == "application/problem+json"


def test_points_from_outside_are_stored_once(api, started):
    run_id = started()

    def send(*series, epoch=1):
        sent = [{"key": key, "steps": steps, "values": values} for key, steps, values in series]
        return api.post(f"runs/{run_id}/metrics", json={"epoch": epoch, "series": sent})

    assert send(("loss", [1, 2], [0.5, None]), ("wide/key 1", [7], [1])).json() == {"added": 3}
    assert send(("loss", [1, 2], [0.5, None])).json() == {"added": 0}
    assert send(("loss", [2, 3], [9.0, 0.25])).json() == {"added": 1}
    loss, wide = api.get(f"runs/{run_id}/metrics").json()["series"]
    assert loss == {"key": "loss", "steps": [1, 2, 3], "values": [0.5, None, 0.25], "count": 3}
    assert wide["key"] == "wide/key 1"
    assert [e["data"] for e in api.get(f"runs/{run_id}/events").json()["items"] if e["kind"] == "metrics"] == [
        {"step": 7},
        {"step": 3},
    ]


def test_points_of_another_epoch_are_refused(api, started):
    run_id = started()
    sent = {"series": [{"key": "loss", "steps": [1], "values": [0.5]}]}
    for epoch in (2, 99):
        response = api.post(f"runs/{run_id}/metrics", json=sent | {"epoch": epoch})
        assert response.status_code == 409
        assert f"epoch {epoch} may no longer write" in response.json()["detail"]
    assert api.get(f"runs/{run_id}/metrics").json()["series"] == []


def test_what_is_no_measurement_is_refused_by_name(api, started):
    run_id = started()
    series = {"key": "loss", "steps": [1], "values": [0.5]}
    refused = {
        "series.0.key": series | {"key": "a\0b"},
        "series.0.steps.0": series | {"steps": [-1]},
        "series.0.values.0": series | {"values": ["1"]},
        "series.0.other": series | {"other": 1},
        "series.0": series | {"values": [1, 2]},
    }
    for field, wrong in refused.items():
        response = api.post(f"runs/{run_id}/metrics", json={"epoch": 1, "series": [wrong]})
        assert response.status_code == 422, field
        assert [error["field"] for error in response.json()["errors"]] == [field]
    response = api.post(f"runs/{run_id}/metrics", json={"epoch": 1, "series": [series, series]})
    assert "every key once" in response.json()["detail"]
    for text in (b"{", b'{"epoch": 1, "series": [{"key": "a", "steps": [1], "values": [NaN]}]}', b"[" * 100_000):
        headers = {"Content-Type": "application/json"}
        assert api.post(f"runs/{run_id}/metrics", content=text, headers=headers).status_code == 422
    many = [series | {"key": f"key {number}"} for number in range(600)]
    also = [series | {"key": f"also {number}"} for number in range(600)]
    assert api.post(f"runs/{run_id}/metrics", json={"epoch": 1, "series": many}).json() == {"added": 600}
    response = api.post(f"runs/{run_id}/metrics", json={"epoch": 1, "series": also})
    assert response.status_code == 422
    assert "more than 1000 metrics" in response.json()["detail"]
    assert len(api.get(f"runs/{run_id}/metrics").json()["series"]) == 600


def test_what_every_attempt_ran_with(api, started, engine):
    run_id = started()
    assert api.get(f"runs/{run_id}/environments").json()["items"] == []
    ingest(
        engine,
        run_id,
        1,
        0,
        10,
        [Started(0, 9, "cpu", 5, {"torch": "2"}, {"threads": "1"}), Started(1, 9, "cpu", 5, {})],
    )
    first, second = api.get(f"runs/{run_id}/environments").json()["items"]
    assert (first["epoch"], first["versions"], first["environment"]) == (1, {"torch": "2"}, {"threads": "1"})
    assert second["environment"] == {}
