"""Server-sent events from a real server: in order, once, across reconnects, and promptly over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import httpx

from laser_core.events import Log, Metrics
from store.ingest import ingest


def messages(response):
    """(id, event, data) of every event, as the lines come."""
    fields = {}
    for line in response.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield fields.get("id"), fields.get("event"), json.loads(fields["data"])
            fields = {}


def take(response, wanted, timeout_s=10):
    """Events until ``wanted`` says so of one."""
    taken, deadline = [], time.monotonic() + timeout_s
    for message in messages(response):
        taken.append(message)
        if wanted(message) or time.monotonic() > deadline:
            return taken
    return taken


def test_reconnecting_loses_and_doubles_nothing(live, started, engine):
    run_id = started()
    total = 60

    def report():
        for number in range(total):
            ingest(engine, run_id, 1, number, number + 1, [Log(f"line {number}"), Metrics(number, {"x": 1.0})])

    writer = threading.Thread(target=report)
    writer.start()
    seen, last = [], ""
    while len([1 for _, kind, _ in seen if kind == "log"]) < total:
        headers = {"Last-Event-ID": last} if last else {}
        with live.stream("GET", "stream", params={"run": run_id}, headers=headers) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            ended = last
            stop = int(last or 0) + 25  # leave in the middle of things
            for place, kind, data in messages(response):
                if place is not None:
                    assert data["seq"] == int(place)
                    seen.append((int(place), kind, data))
                    ended = place
                if int(ended or 0) >= stop or data.get("data", {}).get("message") == f"line {total - 1}":
                    break
            last = ended
    writer.join()
    assert [place for place, _, _ in seen] == list(range(1, len(seen) + 1))
    assert [data["data"]["message"] for _, kind, data in seen if kind == "log"] == [f"line {n}" for n in range(total)]


def test_a_stream_can_begin_in_the_middle(live, finished):
    run_id = finished()
    with live.stream("GET", "stream", params={"run": run_id, "after": 3}) as response:
        taken = take(response, lambda message: message[1] == "run")
    assert [place for place, _, _ in taken[:-1]] == [str(n) for n in range(4, 4 + len(taken) - 1)]
    place, _, summary = taken[-1]
    assert place is None
    assert (summary["id"], summary["state"]) == (run_id, "succeeded")
    assert "config" not in summary


def test_changes_of_all_runs(live):
    with live.stream("GET", "stream") as response:
        run_id = live.post("runs", json={"kind": "train"}).json()["id"]
        queued = take(response, lambda message: message[2]["id"] == run_id)[-1]
    assert queued[2]["state"] == "queued"
    live.post(f"runs/{run_id}/cancel")
    with live.stream("GET", "stream", headers={"Last-Event-ID": queued[0]}) as response:
        taken = take(response, lambda message: message[2]["state"] == "cancelled")
    assert taken[-1][2]["id"] == run_id


def test_all_streams_are_told_of_all_runs_in_order(server, token, live):
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"{server}/api/v1", headers=headers, timeout=20) as viewers:
        opened = [viewers.stream("GET", "stream") for _ in range(3)]
        try:
            responses = [stream.__enter__() for stream in opened]
            ids = [live.post("runs", json={"kind": "train", "seed": seed}).json()["id"] for seed in range(30)]
            for response in responses:
                seen = take(response, lambda message: message[2]["id"] == ids[-1])
                assert list(dict.fromkeys(data["id"] for _, _, data in seen)) == ids
        finally:
            for stream in opened:
                stream.__exit__(None, None, None)


NOT_TO_FOLLOW = [
    ({"run": "r_missing"}, 404),
    ({"after": "x"}, 422),
    ({"after": "nan"}, 422),
    ({"after": "-1"}, 422),
]


def test_what_cannot_be_followed_is_refused_first(live, subtests):
    for params, status in NOT_TO_FOLLOW:
        with subtests.test(params=str(params)[:60]):
            response = live.get("stream", params=params)
            assert response.status_code == status
            assert response.headers["content-type"] == "application/problem+json"


def test_a_run_that_is_deleted_ends_its_stream(live, finished):
    run_id = finished()
    with live.stream("GET", "stream", params={"run": run_id}) as response:
        told = messages(response)
        while next(told)[1] != "run":
            pass
        assert live.delete(f"runs/{run_id}").status_code == 204
        assert list(told) == []


def test_many_streams_leave_room_for_requests(live, server, token, started):
    """More streams than the 40 threads that answer requests."""
    run_id = started()
    headers = {"Authorization": f"Bearer {token}"}
    limits = httpx.Limits(max_connections=None)
    with httpx.Client(base_url=f"{server}/api/v1", headers=headers, timeout=20, limits=limits) as viewers:
        opened = [viewers.stream("GET", "stream", params={"run": run_id}) for _ in range(60)]
        try:
            responses = [stream.__enter__() for stream in opened]
            for response in responses:
                assert next(messages(response))[0] == "1"
            assert live.get("runs", timeout=5).status_code == 200
        finally:
            for stream in opened:
                stream.__exit__(None, None, None)


def test_a_signal_ends_open_streams_and_the_server(tmp_path):
    environment = {"PATH": os.environ["PATH"], "LASER_HOME": str(tmp_path), "LASER_PORT": "0"}
    command = [sys.executable, "-m", "api"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = next(line for line in process.stderr if "running on" in line)
            url = line.partition("running on ")[2].split()[0]
            headers = {"Authorization": f"Bearer {(tmp_path / 'token').read_text().strip()}"}
            with httpx.stream("GET", f"{url}/api/v1/stream", headers=headers, timeout=10) as response:
                process.send_signal(signal.SIGTERM)
                began = time.monotonic()
                for _ in response.iter_lines():
                    pass
                process.communicate(timeout=10)
                assert time.monotonic() - began < 5
        finally:
            process.kill()
