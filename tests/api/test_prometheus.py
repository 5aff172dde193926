"""What Prometheus reads: true numbers, for whoever has a token, without anybody's name."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from laser_core.events import Metrics
from store import workers
from store.devices import Device
from store.ingest import ingest


@pytest.fixture
def scrape(nobody, token):
    """``scrape()``: {(name, label values…): value}."""

    def scrape():
        response = nobody.get("/metrics", headers={"Authorization": f"Bearer {token}"})
        assert response.status_code == 200
        families = text_string_to_metric_families(response.text)
        return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}

    return scrape


def test_the_pool_in_numbers(api, scrape, engine, started, submit):
    before = scrape()
    assert before["laser_queue_runs", "normal"] == before["laser_ingested_points_total",] == 0
    device = Device("GPU-1", "H100", 80 * 2**30, "0", 3 * 2**30)
    for worker in ("w1", "w2"):  # which share it
        workers.register(engine, worker, "here", 7, 1, "1 x H100", "0.1.0", devices=(device,))
    run_id = started()
    submit(seed=1)
    ingest(engine, run_id, 1, 0, 10, [Metrics(step, {"a": 1.0, "b": 2.0}) for step in range(5)])
    found = scrape()
    assert found["laser_runs", "running"] == found["laser_runs", "queued"] == 1
    assert found["laser_queue_runs", "normal"] == 1
    assert found["laser_queue_runs", "high"] == 0
    assert 0 <= found["laser_queue_longest_wait_seconds", "normal"] < 600
    assert found["laser_claims",] == 1
    assert (found["laser_slots", "all"], found["laser_slots", "busy"]) == (2, 1)
    assert found["laser_workers_alive",] == 2
    assert found["laser_device_memory_bytes", "GPU-1", "total"] == 80 * 2**30
    assert found["laser_device_memory_bytes", "GPU-1", "used"] == 3 * 2**30
    assert 0 <= found["laser_worker_heartbeat_age_seconds", "w1"] < 600
    assert found["laser_ingested_points_total",] == 10
    ingest(engine, run_id, 1, 10, 20, [Metrics(step, {"a": 1.0}) for step in range(4, 8)])  # one of them again
    assert scrape()["laser_ingested_points_total",] == 13
    api.post(f"runs/{run_id}/cancel")
    assert scrape()["laser_ingested_points_total",] == 13


def test_requests_by_route_and_status(api, nobody, scrape):
    for number in range(3):
        api.get(f"runs/r_{number}")
    api.post("runs", json={"kind": "nonsense"})
    nobody.get("/api/v1/me")
    for number in range(3):
        nobody.get(f"/nowhere/{number}")
    nobody.request("BREW", "/")
    found = scrape()
    assert found["laser_http_answers_total", "GET", "/runs/{run_id}", "404"] == 3
    assert found["laser_http_answers_total", "POST", "/runs", "422"] == 1
    assert found["laser_http_seconds_count", "GET", "/runs/{run_id}"] == 3
    assert found["laser_http_answers_total", "GET", "none", "401"] >= 4
    assert found["laser_http_answers_total", "other", "none", "401"] == 1
    assert "nowhere" not in str(found)


def test_an_unexpected_error_counts(app, nobody, scrape, token, monkeypatch):
    monkeypatch.setattr("store.workers.list_workers", lambda *_: 1 / 0)
    headers = {"Authorization": f"Bearer {token}"}
    assert nobody.get("/api/v1/workers", headers=headers).status_code == 500
    monkeypatch.undo()
    assert scrape()["laser_http_answers_total", "GET", "/workers", "500"] == 1


def test_a_token_of_its_own_opens_nothing_else(api, nobody):
    made = api.post("tokens", json={"name": "prometheus", "scope": "metrics"}).json()
    headers = {"Authorization": f"Bearer {made['secret']}"}
    assert nobody.get("/metrics", headers=headers).status_code == 200
    for method, path in (("GET", "/api/v1/runs"), ("GET", "/api/v1/me"), ("POST", "/api/v1/runs"), ("GET", "/")):
        assert nobody.request(method, path, headers=headers).status_code == 403
    assert nobody.post("/metrics", headers=headers).status_code == 403
    assert nobody.get("/metrics").status_code == 401


def test_scrapes_at_once_count_once(live, server, engine, started, token):
    run_id = started()
    url, headers = f"{server}/metrics", {"Authorization": f"Bearer {token}"}
    httpx.get(url, headers=headers)
    ingest(engine, run_id, 1, 0, 10, [Metrics(step, {"a": 1.0}) for step in range(5)])
    texts = [httpx.get(url, headers=headers).text for _ in range(3)]
    assert all("laser_ingested_points_total 5.0" in text for text in texts)
