"""What waits, and how a run asks for its place."""

from __future__ import annotations

from store import access, users, workers


def submit(api, seed=0, **params):
    return api.post("runs", params=params, json={"kind": "train", "seed": seed})


def test_a_run_asks_for_a_band_and_a_pool(api):
    made = submit(api, priority="high", pool="a100").json()
    assert (made["priority"], made["pool"]) == ("high", "a100")
    assert submit(api, seed=1).json()["priority"] == "normal"
    copy = api.post(f"runs/{made['id']}/clone", params={"priority": "low"}).json()
    assert (copy["priority"], copy["pool"], copy["config_hash"]) == ("low", "", made["config_hash"])


def test_a_run_asks_for_a_time_limit_and_for_others_to_come_first(api):
    first, second = (submit(api, seed).json()["id"] for seed in range(2))
    made = submit(api, seed=2, time_limit_s=90, after=f"{first},{second}").json()
    assert (made["time_limit_s"], made["after"]) == (90, [first, second])
    (waiting,) = api.get("queue", params={"id": made["id"]}).json()["items"]
    assert (waiting["reason"], waiting["waits_for"]) == (f"waits for run {first}, {second}", [first, second])
    copy = api.post(f"runs/{made['id']}/clone", params={"after": made["id"]}).json()
    assert (copy["time_limit_s"], copy["after"]) == (None, [made["id"]])
    for params in ({"time_limit_s": 0}, {"time_limit_s": "nan"}, {"after": "a,,b"}, {"after": "r_aaaaaaaaaaaa"}):
        refused = submit(api, **params)
        assert refused.status_code == 422, params
        assert next(iter(params)) in refused.json()["errors"][0]["field"]


def test_a_run_asks_for_several_devices(api):
    made = submit(api, gpus=2).json()
    assert (made["gpus"], submit(api, seed=1).json()["gpus"]) == (2, 1)
    for gpus, field in ((0, "gpus"), (9, "gpus"), (3, "training.batch_size")):
        refused = submit(api, gpus=gpus)
        assert refused.status_code == 422, gpus
        assert field in refused.json()["errors"][0]["field"]


def test_others_do_not_learn_what_a_run_waits_for(api, nobody, engine):
    first = submit(api).json()["id"]
    submit(api, seed=1, after=first)
    token = access.create_token(engine, users.add(engine, "stranger", "member").id)
    seen = nobody.get("/api/v1/queue", headers={"Authorization": f"Bearer {token}"})
    assert first not in seen.text
    assert seen.json()["items"][-1]["reason"] == "waits for another run"


def test_nonsense_is_refused_by_field(api):
    assert submit(api, priority="now").status_code == 422
    assert submit(api, pool="two words").status_code == 422
    assert submit(api, pool="x" * 41).status_code == 422
    assert api.get("queue", params={"limit": 0}).status_code == 422


def test_the_queue_tells_place_and_reason(api, engine):
    workers.register(engine, "w1", "host", 7, 1, "cpu", "1")
    low, high, lost = (submit(api, seed, **how).json()["id"] for seed, how in enumerate(
        ({"priority": "low"}, {"priority": "high"}, {"pool": "nowhere"})
    ))  # fmt: skip
    seen = api.get("queue").json()
    assert [(run["run_id"], run["position"]) for run in seen["items"]] == [(high, 1), (lost, None), (low, 2)]
    assert seen["items"][1]["reason"] == "no live worker has the label 'nowhere'"
    assert (seen["total"], seen["slots"], seen["busy"]) == (3, 1, 0)
    (standing,) = seen["standings"]
    assert (standing["name"], standing["share"], standing["waiting"]) == ("local", 1.0, 3)
    (one,) = api.get("queue", params={"id": low}).json()["items"]
    assert one["position"] == 2
    assert one["priority"] == one["fair_share"] + one["age"]
