"""Runs over HTTP: created once, listed, cancelled, cloned, deleted, and every mistake told with its field."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.runs import merge_patch
from laser_core.config import parse_run, to_json

JSON = {"Content-Type": "application/json"}


def fields(response):
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == response.status_code
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == response.headers["x-request-id"]
    return {error["field"] for error in problem["errors"]}


def test_a_run_is_stored_whole(api):
    created = api.post("runs", json={"kind": "train", "seed": 3, "tags": ["a", "b"], "store": {"kind": "laser"}})
    assert created.status_code == 201
    run = created.json()
    assert created.headers["location"] == f"/api/v1/runs/{run['id']}"
    assert run["config"] == to_json(
        parse_run({"kind": "train", "seed": 3, "tags": ["a", "b"], "store": {"kind": "laser"}})
    )
    assert (run["state"], run["store_kind"], run["seed"], run["tags"]) == ("queued", "laser", 3, ["a", "b"])
    assert api.get(f"runs/{run['id']}").json() == run


def test_the_same_key_makes_one_run(api):
    key = {"Idempotency-Key": "k1"}
    first = api.post("runs", json={"kind": "train"}, headers=key)
    again = api.post("runs", json={"kind": "train"}, headers=key)
    other = api.post("runs", json={"kind": "train", "seed": 1}, headers=key)
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert first.json()["id"] == again.json()["id"]
    assert api.get("runs").json()["total"] == 1
    assert fields(api.post("runs", json={"kind": "train"}, headers={"Idempotency-Key": "x" * 201})) == {
        "idempotency-key"
    }


BAD_CONFIGURATIONS = [
    ({"store": {"kind": "laser", "rank": 65}}, "store.rank"),
    ({"model": {"width": 64, "heads": 5}}, "model.heads"),
    ({"training": {"batch_size": 0}}, "training.batch_size"),
    ({"training": {"learning_rate": "fast"}}, "training.learning_rate"),
    ({"modle": {}}, "modle"),
    ({"kind": "tarin"}, "kind"),
    ({"task": {"kind": "csv", "train": "nowhere.csv"}}, "task.train"),
    ({"name": "a\u001b[31mred"}, "name"),
    ({"tags": ["ok", "nul\0"]}, "tags.1"),
]


def test_a_bad_configuration_names_the_field(api, subtests):
    for change, field in BAD_CONFIGURATIONS:
        with subtests.test(change=str(change)[:60]):
            response = api.post("runs", json={"kind": "train", **change})
            assert response.status_code == 422
            assert field in fields(response)
            assert api.get("runs").json()["total"] == 0


BAD_BODIES = [
    (b'{"kind": "train",\n "seed": }', 422, "line 2, column 10"),
    (b'{"training": {"learning_rate": NaN}}', 422, "NaN"),
    (b'{"training": {"learning_rate": -Infinity}}', 422, "-Infinity"),
    (b'{"training": {"learning_rate": 1e999}}', 422, "too large"),
    (b'{"seed": ' + b"9" * 5000 + b"}", 422, "digits"),
    (b"[" * 40 + b"]" * 40, 422, "32 levels"),
    (b"[" * 200_000, 422, "32 levels"),
    (b'{"seed": 1, "seed": 2}', 422, "given twice"),
    (b"{" + b",".join(b'"%d":1' % n for n in (*range(90_000), 89_999)) + b"}", 422, "89999: is given twice"),
    (b'{"name": "\\ud800"}', 422, "U+D800"),
    (b'{"kind": "train", "na\\ud800me": 1}', 422, "U+D800"),
    (b"\xff\xfe", 422, "UTF-8"),
    (b"", 422, "line 1, column 1"),
    (b"[]", 422, "object"),
    (b" " * (2**20 + 1), 413, "1 MiB"),
]


@pytest.mark.timeout(60)  # one is long and must not take minutes to be understood
def test_what_is_no_good_json_is_refused(api, subtests):
    for body, status, said in BAD_BODIES:
        with subtests.test(body=str(body)[:60]):
            response = api.post("runs", content=body, headers=JSON)
            assert response.status_code == status
            fields(response)
            assert said in response.json()["detail"]


def test_other_content_is_refused(api):
    response = api.post("runs", content=b"kind=train", headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert response.status_code == 415
    fields(response)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(["kind", "name", "tags", "seed", "task", "model", "store", "training", "x"]), value=_VALUES)
def test_no_json_breaks_the_service(api, name, value):
    body = json.dumps({"kind": "train", name: value})
    assert api.post("runs", content=body.encode("utf-8", "surrogatepass"), headers=JSON).status_code in (201, 422)


def test_the_list_is_filtered_sorted_and_paged(api):
    for seed in range(5):
        store = {"kind": "laser" if seed % 2 else "none"}
        api.post("runs", json={"kind": "train", "name": f"run {seed}", "seed": seed, "store": store, "tags": ["t"]})
    first = api.get("runs", params={"sort": "created", "limit": 2}).json()
    second = api.get("runs", params={"sort": "created", "limit": 3, "cursor": first["next_cursor"]}).json()
    assert first["total"] == second["total"] == 5
    assert [run["seed"] for run in first["items"] + second["items"]] == [0, 1, 2, 3, 4]
    assert second["next_cursor"] is None
    assert "config" not in first["items"][0]
    assert {run["seed"] for run in api.get("runs", params={"store": "laser", "tag": "t"}).json()["items"]} == {1, 3}
    assert [run["seed"] for run in api.get("runs", params={"text": "run 4"}).json()["items"]] == [4]
    ids = [run["id"] for run in first["items"]]
    assert {run["id"] for run in api.get("runs", params={"id": ids}).json()["items"]} == set(ids)
    assert api.get("runs", params=[("state", "queued"), ("state", "failed")]).json()["total"] == 5
    asked = {"filter": 'owner:me tag:t seed>=2 (config.store.kind=laser OR name~"4")', "sort": "created"}
    assert [run["seed"] for run in api.get("runs", params=asked).json()["items"]] == [3, 4]


def test_a_filter_box_is_told_what_to_offer(api):
    api.post("runs", json={"kind": "train", "tags": ["ablation"]})
    known = api.get("filters/fields").json()
    by_name = {field["name"]: field for field in known["fields"]}
    assert "running" in by_name["state"]["values"]
    assert by_name["config.training.steps"]["kind"] == "number"
    assert ">=" in known["operators"]["number"]
    assert (known["tags"], known["metrics"]) == (["ablation"], [])


BAD_QUESTIONS = [
    ({"state": "sleeping"}, "state"),
    ({"sort": "colour"}, "sort"),
    ({"filter": "state:running sat:x"}, "filter"),
    ({"filter": "(" * 2001}, "filter"),
    ({"cursor": "nonsense"}, "cursor"),
    ({"limit": 0}, "limit"),
    ({"limit": "many"}, "limit"),
    ({"kind": "test"}, "kind"),
    ({"store": "lasre"}, "store"),
]


def test_a_bad_question_names_the_parameter(api, subtests):
    for params, field in BAD_QUESTIONS:
        with subtests.test(params=str(params)[:60]):
            response = api.get("runs", params=params)
            assert response.status_code == 422
            assert any(named.split(".")[0] == field for named in fields(response))


def test_cancel_is_repeatable_and_only_ended_runs_are_deleted(api, started, settings):
    run_id = started()
    assert api.delete(f"runs/{run_id}").status_code == 409
    cancelled = api.post(f"runs/{run_id}/cancel")
    assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelling")
    assert api.post(f"runs/{run_id}/cancel").status_code == 202
    waiting = api.post("runs", json={"kind": "train"}).json()["id"]
    assert api.post(f"runs/{waiting}/cancel").json()["state"] == "cancelled"
    assert api.delete(f"runs/{waiting}").status_code == 204
    assert api.get(f"runs/{waiting}").status_code == 404


def test_pause_and_resume_are_repeatable(api, started):
    run_id = started()
    for _ in range(2):
        paused = api.post(f"runs/{run_id}/pause")
        assert (paused.status_code, paused.json()["state"]) == (202, "pausing")
    assert "still pausing" in api.post(f"runs/{run_id}/resume").json()["detail"]
    waiting = api.post("runs", json={"kind": "train", "seed": 1}).json()["id"]
    for how, state in (("pause", "paused"), ("pause", "paused"), ("resume", "queued"), ("resume", "queued")):
        assert api.post(f"runs/{waiting}/{how}").json()["state"] == state


def test_delete_takes_the_files_along(api, finished, settings):
    run_id = finished()
    assert (settings.artifacts_dir / run_id).is_dir()
    assert api.post(f"runs/{run_id}/cancel").status_code == 409
    assert api.delete(f"runs/{run_id}").status_code == 204
    assert not (settings.artifacts_dir / run_id).exists()
    assert fields(api.delete(f"runs/{run_id}")) == set()


def test_a_clone_differs_by_its_patch(api):
    run = api.post("runs", json={"kind": "train", "name": "a", "store": {"kind": "laser", "rank": 8}}).json()
    exact = api.post(f"runs/{run['id']}/clone")
    assert exact.status_code == 201
    assert exact.json()["config"] == run["config"]
    patch = {"seed": 7, "name": None, "store": {"kind": "none"}, "training": {"steps": 5}}
    headers = {"Content-Type": "application/merge-patch+json"}
    clone = api.post(f"runs/{run['id']}/clone", content=json.dumps(patch), headers=headers).json()["config"]
    assert (clone["seed"], clone["name"], clone["store"], clone["training"]["steps"]) == (7, "", {"kind": "none"}, 5)
    assert clone["training"]["batch_size"] == run["config"]["training"]["batch_size"]
    assert fields(api.post(f"runs/{run['id']}/clone", json={"seed": -1})) == {"seed"}
    assert api.post("runs/r_missing/clone").status_code == 404


@pytest.mark.parametrize(
    ("target", "patch", "result"),  # the examples of RFC 7396, appendix A
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_is_the_standards(target, patch, result):
    assert merge_patch(target, patch) == result


def test_wrong_addresses_and_methods_are_problems(api):
    for method, path, status in [("GET", "nothing", 404), ("PUT", "runs", 405), ("GET", "session", 405)]:
        response = api.request(method, path, headers={"Accept": "text/html"})
        assert response.status_code == status
        fields(response)
    assert api.put("runs").headers["allow"] == "GET, POST"
    assert fields(api.get("runs/%00")) == set()
