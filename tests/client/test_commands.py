"""Commands and Python client against a real API: `laser up` without a worker, so that every run stays queued."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from client.commands import app
from client.errors import BadInput, Refused, Unreachable
from client.http import Client
from store import database
from store.settings import Settings
from tests.client.conftest import LASER, Server
from worker.webhooks import Sender

RUN = """
kind: train
name: first
tags: [tried]
store: {kind: laser-fused, rank: 8}
training: {steps: 20, learning_rate: 1e-3}
"""


@pytest.fixture(scope="module")
def run(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run submitted by the command."""
    file = tmp_path_factory.mktemp("runs") / "run.yaml"
    file.write_text(RUN)
    settings = ("--set", "store.kind=laser", "--set", "seed=3", "--priority", "high", "--idempotency-key", "once")
    submitted: dict[str, Any] = server.json("submit", str(file), *settings)
    assert server.json("submit", str(file), *settings)["id"] == submitted["id"]
    return submitted


def test_submitting(run: dict[str, Any]) -> None:
    assert run["config"]["store"]["kind"] == "laser"
    assert run["config"]["store"]["rank"] == 0  # the other kind's rank is gone
    assert run["config"]["training"]["learning_rate"] == 1e-3
    assert (run["seed"], run["name"], run["tags"], run["state"]) == (3, "first", ["tried"], "queued")


def test_lists_and_looks(server: Server, run: dict[str, Any]) -> None:
    assert [item["id"] for item in server.json("runs", "--tag", "tried", "--state", "queued")["items"]] == [run["id"]]
    assert server.json("runs", "--store", "none")["items"] == []
    table = server.laser("runs").stdout
    assert run["id"] in table
    assert "queued" in table
    (waiting,) = server.json("queue")["items"]
    assert (waiting["run_id"], waiting["band"], waiting["reason"]) == (
        run["id"],
        "high",
        "no worker is alive, or all are drained",
    )
    shown = server.laser("queue").stdout
    assert run["id"] in shown
    assert "1 waiting, 0 of 0 slots busy" in shown
    for reference in (run["id"], run["id"][:9], run["id"][2:9], str(run["number"]), f"#{run['number']}"):
        assert server.json("show", reference)["id"] == run["id"]
    shown = server.laser("show", run["id"])
    assert "learning_rate: 0.001" in shown.stdout
    assert server.json("metrics", run["id"]) == []
    assert server.laser("metrics", run["id"], "--csv").stdout.strip() == "key,step,value"
    assert server.laser("logs", run["id"]).stdout == ""
    assert "No run 'zzz'" in server.laser("show", "zzz").stderr
    assert "has no files yet" in server.laser("download", run["id"]).stderr


def test_the_filter_language(server: Server, run: dict[str, Any]) -> None:
    asked = ("--filter", "config.training.steps=20 tag:tried owner:me")
    for command in ("runs", "list"):
        assert [item["id"] for item in server.json(command, *asked)["items"]] == [run["id"]]
    wrong = server.laser("runs", "--filter", "state:walking")
    assert wrong.returncode == 2
    assert "column 7: expected one of queued" in wrong.stderr
    assert "No run fits" in server.laser("runs", "--state", "failed").stderr


def test_tags_and_notes(server: Server, run: dict[str, Any]) -> None:
    assert server.json("tag", run["id"], "+ablation", "+keep", "-nothing")["tags"] == ["ablation", "keep", "tried"]
    assert "ablation" not in server.laser("tag", str(run["number"]), "-ablation", "-keep").stdout
    assert "Expected runs" in server.laser("tag", run["id"]).stderr
    assert "at most 16 tags" in server.laser("tag", run["id"], *(f"+{n}" for n in range(16))).stderr
    assert "No note" in server.laser("note", run["id"]).stderr
    assert server.json("note", run["id"], "# Why\n\nTo *see*.")["note"] == "# Why\n\nTo *see*."
    assert server.laser("note", run["id"]).stdout == "# Why\n\nTo *see*.\n"
    assert "To *see*." in server.laser("show", run["id"]).stdout


def test_views(server: Server, run: dict[str, Any]) -> None:
    server.json("view", "save", "tried ones", "--filter", "tag:tried OR tag:no", "--sort", "name", "--column", "seed")
    (kept,) = server.json("view", "list")
    assert (kept["name"], kept["columns"]) == ("tried ones", ["seed"])
    assert [item["id"] for item in server.json("runs", "--view", "tried ones")["items"]] == [run["id"]]
    assert server.json("runs", "--view", "tried ones", "--filter", "seed:99")["items"] == []
    assert "column 7" in server.laser("view", "save", "bad", "--filter", "state:walking").stderr
    assert "Deleted tried ones" in server.laser("view", "delete", "tried ones").stdout
    assert "No view 'tried ones'" in server.laser("runs", "--view", "tried ones").stderr


def test_cancel_clone_delete_follow(server: Server, run: dict[str, Any]) -> None:
    copy = server.json("clone", run["id"], "--set", "store.kind=none", "--set", "name=copy")
    assert copy["config"]["store"] == {"kind": "none"}
    assert copy["config"]["training"] == run["config"]["training"]
    assert server.laser("delete", copy["id"]).returncode == 2
    assert [server.json(how, copy["id"])["state"] for how in ("pause", "resume")] == ["paused", "queued"]
    assert server.json("cancel", copy["id"])["state"] == "cancelled"
    log = server.laser("logs", "-f", copy["id"]).stdout.splitlines()
    assert [line.split(" ", 1)[1].partition(":")[0] for line in log] == ["queued", "paused", "queued", "cancelled"]
    assert server.json("delete", copy["id"]) == {"deleted": [copy["id"]]}
    assert server.laser("show", copy["id"]).returncode == 2


def test_a_run_leaves_as_one_file_and_comes_back(server: Server, run: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "run.zip"
    assert "only a run that has ended" in server.laser("export", run["id"], "--archive", str(file)).stderr
    assert not file.exists()
    copy = server.json("clone", run["id"], "--set", "name=travels")
    server.json("cancel", copy["id"])
    assert "Say where to: --archive FILE" in server.laser("export", copy["id"]).stderr
    done = server.json("export", copy["id"], "--archive", str(file))
    assert done == {"run": copy["id"], "archive": str(file), "size_bytes": file.stat().st_size}
    for form in ("csv", "parquet"):
        done = server.json("export", copy["id"], f"--{form}", str(tmp_path / "deep" / form))
        files = [tmp_path / "deep" / form / f"{copy['id']}-{table}.{form}" for table in ("metrics", "traces")]
        assert done[form] == [{"path": str(path), "size_bytes": path.stat().st_size} for path in files]
    assert "can't be made" in server.laser("export", copy["id"], "--csv", str(file)).stderr
    done = server.json("export", copy["id"], "--tensorboard", str(tmp_path / "tb"))
    assert done == {"run": copy["id"], "points": 0, "tensorboard": str(tmp_path / "tb" / copy["id"])}
    assert "no MLflow server answers" in server.laser("export", copy["id"], "--mlflow", "http://127.0.0.1:9").stderr
    imported = server.json("import", str(file))
    assert (imported["imported_from"]["id"], imported["state"]) == (copy["id"], "cancelled")
    assert imported["config"] == copy["config"]
    assert imported["id"] in server.laser("import", str(file)).stdout
    server.json("delete", imported["id"], copy["id"])
    file.write_bytes(b"else")
    assert "isn't one that `laser export` wrote" in server.laser("import", str(file)).stderr


def test_webhooks(server: Server) -> None:
    made = server.json("webhook", "add", "https://receiver.invalid/hook", "--event", "run.failed", "--filter", "seed:1")
    hook = made["webhook"]["id"]
    assert made["secret"].startswith("whsec_")
    assert server.json("webhook", "list") == [made["webhook"]]
    assert (made["webhook"]["events"], made["webhook"]["filter"]) == (["run.failed"], "seed:1")
    assert server.json("webhook", "enable", hook)["disabled_at"] is None
    assert server.json("webhook", "deliveries", hook) == []
    engine = database.connect(f"sqlite:///{server.home / 'laser.db'}")  # there is no worker here
    stopping = threading.Event()
    sender = threading.Thread(target=Sender(engine, Settings(home=server.home, reconcile_s=0.1)).run, args=(stopping,))
    sender.start()
    try:
        done = server.laser("webhook", "test", hook)
    finally:
        stopping.set()
        sender.join()
        engine.dispose()
    assert done.returncode == 1
    assert any(line.startswith("not reached:") for line in done.stdout.splitlines())  # the sender here logs there too
    assert "it will be tried again" in done.stderr
    assert "not reached" in server.laser("webhook", "deliveries", hook).stdout
    assert "internal address" in server.laser("webhook", "add", "http://10.0.0.1/").stderr
    assert server.json("webhook", "remove", hook) == {"removed": hook}
    assert "No webhook" in server.laser("webhook", "test", hook).stderr


def test_wrong_input_names_the_field(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(
        '{"kind": "train", "store": {"kind": "laser", "rank": 500}, "training": {"batch_size": 0}, "lr": 1}'
    )
    done = server.laser("submit", str(file))
    assert done.returncode == 2
    assert done.stdout == ""
    assert "  training.batch_size: expected at least 1, got 0" in done.stderr
    assert "  lr: unknown field" in done.stderr
    as_json = server.laser("submit", str(file), "--json")
    assert as_json.returncode == 2
    assert {error["field"] for error in json.loads(as_json.stdout)["errors"]} >= {"training.batch_size", "lr"}
    assert server.laser("submit", str(tmp_path / "none.yaml")).returncode == 2


def test_datasets(server: Server, tmp_path: Path) -> None:
    good = tmp_path / "four.csv"
    good.write_text("source,q,a,rating\ntest,1234341221434.21,1234341221434321,1\n")
    added = server.json("datasets", "add", str(good))
    assert server.json("datasets", "add", str(good))["id"] == added["id"]
    assert (added["rows"], added["size"]) == (1, 4)
    assert [item["id"] for item in server.json("datasets", "list")] == [added["id"]]
    shown = server.json("datasets", "show", added["name"])
    assert shown["preview"][0]["answer"] == "1234341221434321"
    assert "1234341221434321" in server.laser("datasets", "show", added["id"]).stdout
    bad = tmp_path / "bad.csv"
    bad.write_text("source,q,a,rating\ntest,1234341221434.21,1234341221434322,1\n")
    refused = server.laser("datasets", "add", str(bad))
    assert refused.returncode == 2
    assert "line 2" in refused.stderr
    assert server.json("datasets", "delete", added["id"]) == {"deleted": added["id"]}
    assert server.laser("datasets", "list").returncode == 0


def test_the_platform_itself(server: Server) -> None:
    assert server.json("version")["platform"]["version"] == server.json("version")["client"]
    assert "$defs" in json.loads(server.laser("schema").stdout)
    assert server.json("login")["url"] != server.json("open")["url"]


def test_up_again_says_where_it_runs(server: Server) -> None:
    again = server.laser("up")
    assert again.returncode == 0
    assert f"Already running on {server.home} (process {server.pid})" in " ".join(again.stdout.split())
    assert f"{server.url}/login?code=" in again.stdout
    elsewhere = server.laser("up", "--port", "21999")
    assert elsewhere.returncode == 1
    assert f"already running on {server.home} (process {server.pid})" in elsewhere.stderr


def test_a_demo_that_loses_a_run_stops_and_fails(server: Server, tmp_path: Path) -> None:
    with subprocess.Popen(
        [LASER, "demo", "--seeds", "2", "--json"],
        env={**os.environ, "LASER_HOME": str(server.home)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as demo:
        with server.client() as client:
            while len(runs := client.runs(tag="demo")["items"]) < 4:
                assert demo.poll() is None
            client.cancel(runs[0]["id"])
        output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 1
    report = json.loads((tmp_path / "demo-report.json").read_text())
    assert json.loads(output) == report
    assert [run["state"] for run in report["runs"]] == ["cancelled"] * 4
    assert [run["variant"] for run in report["runs"]] == ["none", "laser-fused", "laser-fused", "none"]
    assert {run["exact_accuracy"] for run in report["runs"]} == {None}


def test_a_taken_port_is_named_with_its_holder(server: Server, home_path: Path) -> None:
    port = server.url.rpartition(":")[2]
    done = server.laser("up", "--port", port, LASER_HOME=str(home_path))
    assert done.returncode == 1
    assert f"Port {port} is taken by process " in done.stderr
    assert f"laser up --port {int(port) + 1}" in done.stderr


def test_without_a_server(home_path: Path, server: Server) -> None:
    done = server.laser("runs", LASER_HOME=str(home_path), LASER_URL="http://127.0.0.1:9")
    assert done.returncode == 3
    assert done.stdout == ""
    assert (
        "No answer from http://127.0.0.1:9. Start it with `laser up`, or point LASER_URL at a running one."
        in done.stderr
    )
    stranger = server.laser("runs", LASER_HOME=str(home_path), LASER_URL=server.url)
    assert stranger.returncode == 2
    assert "LASER_TOKEN" in stranger.stderr


def test_python_client(server: Server, run: dict[str, Any]) -> None:
    with server.client() as client:
        made = client.submit({"kind": "train", "name": "streamed"})
        stream = client.stream(made["id"])
        first = next(stream)
        assert (first.event, first.id, first.data["data"]["state"]) == ("state", "1", "queued")
        client.cancel(made["id"])
        states = (m.data["data"]["state"] for m in stream if m.event == "state")
        assert next(states) == "cancelled"
        after = list(itertools.islice(client.stream(made["id"], after=1), 1))
        assert after[0].id == "2"
        assert client.wait(made["id"])["state"] == "cancelled"
        with pytest.raises(TimeoutError):
            client.wait(run["id"], timeout_s=0)
        assert {made["id"], run["id"]} <= {r["id"] for r in client.iter_runs(limit=1)}
        assert client.traces(run["id"]) == []
        assert [event["kind"] for event in client.events(run["id"])] == ["state"]
        with pytest.raises(Refused) as refused:
            client.compare(["r_nothing"])
        assert refused.value.status == 404
        with pytest.raises(BadInput, match="Give more letters"):
            client.find("r_")
    with Client("http://127.0.0.1:9", "") as nobody, pytest.raises(Unreachable):
        nobody.runs()


def test_a_run_asks_for_its_time_and_its_place(server: Server, run: dict[str, Any]) -> None:
    made = server.json(
        "clone", run["id"], "--time-limit", "1.5h", "--after", f"#{run['number']}", "--priority", "low", "--gpus", "2"
    )
    assert (made["time_limit_s"], made["after"], made["priority"], made["gpus"]) == (5400, [run["id"]], "low", 2)
    shown = server.laser("show", made["id"]).stdout
    assert f"after {run['id']}" in shown
    assert "2 GPUs" in shown
    wrong = server.laser("clone", run["id"], "--time-limit", "soon")
    assert wrong.returncode == 2
    assert "90s, 30m, 12h or 2d" in wrong.stderr
    server.laser("cancel", made["id"])


def test_a_worker_that_is_not_there_cannot_be_drained(server: Server) -> None:
    assert server.json("worker", "list") == []
    done = server.laser("worker", "drain", "nobody")
    assert done.returncode == 2
    assert "laser worker list" in done.stderr


def test_users_come_in_by_link_or_token_and_are_shut_out(server: Server) -> None:
    link = server.laser("user", "add", "ann", "--role", "viewer")
    assert link.stdout.startswith(f"{server.url}/login?code=")
    assert "ann is a viewer now" in link.stderr
    added = server.json("user", "add", "bob (lab)", "--token")
    assert server.laser("runs", LASER_TOKEN=added["token"]).returncode == 0
    assert "Only admins may do this" in server.laser("user", "list", LASER_TOKEN=added["token"]).stderr
    assert server.json("user", "role", "bob (lab)", "admin")["role"] == "admin"
    assert server.json("user", "set", "bob (lab)", "--shares", "2.5", "--most-running", "4")["shares"] == 2.5
    assert server.laser("user", "list", LASER_TOKEN=added["token"]).returncode == 0
    assert server.json("user", "disable", "bob (lab)")["disabled_at"] is not None
    assert server.laser("runs", LASER_TOKEN=added["token"]).returncode == 2
    assert server.json("user", "enable", "bob (lab)")["disabled_at"] is None
    assert "/login?code=" in server.json("user", "link", "bob (lab)")["login_url"]
    assert "last admin" not in server.laser("user", "disable", "bob (lab)").stderr
    assert "last admin" in server.laser("user", "role", "local", "member").stderr
    listing = server.laser("user", "list").stdout
    assert "ann" in listing
    assert "bob (lab)" in listing


def test_tokens_and_the_audit_log(server: Server) -> None:
    made = server.laser("token", "create", "ci", "--days", "2")
    secret = made.stdout.strip()
    assert server.laser("runs", LASER_TOKEN=secret).returncode == 0
    assert "may only read" in server.laser("token", "create", "more", LASER_TOKEN=secret).stderr
    (token,) = [token for token in server.json("token", "list") if token["name"] == "ci"]
    listing = server.laser("token", "list").stdout
    assert token["id"] in listing
    assert secret not in listing
    assert server.laser("token", "revoke", token["id"]).stdout == f"Revoked {token['id']}.\n"
    assert server.laser("runs", LASER_TOKEN=secret).returncode == 2
    newest = server.json("audit", "--limit", "1")
    (entry,) = newest["items"]
    assert (entry["action"], entry["object_id"]) == ("token.revoke", token["id"])
    older = server.laser("audit", "--limit", "2", "--before", str(newest["next_before"] or entry["number"])).stdout
    assert "POST /api/v1/tokens" in older
    assert "refused" in older


def commands(command: Any, name: str = "laser") -> Iterator[tuple[str, Any]]:
    """Every command below, by its words."""
    if not hasattr(command, "commands"):
        yield name, command
        return
    for word, below in command.commands.items():
        yield from commands(below, f"{name} {word}")


def test_every_command_explains_itself_and_speaks_json() -> None:
    found = dict(commands(typer.main.get_command(app)))
    assert {"laser submit", "laser run", "laser datasets add", "laser schema"} < found.keys()
    for name, command in found.items():
        assert command.help, name
        assert any("--json" in parameter.opts for parameter in command.params), name


def test_an_experiment_from_file_to_deletion(server: Server, tmp_path: Path) -> None:
    file = Path(__file__).parents[2] / "docs" / "examples" / "sudoku-4x4.yaml"
    small = (str(file), "--set", "seeds=2", "--set", "base.training.steps=5")
    estimate = server.json("experiment", "submit", *small, "--dry-run")
    assert (estimate["runs"], estimate["duration_s"]) == (4, None)
    assert "4 runs; how long they take isn't known" in server.laser("experiment", "submit", *small, "--dry-run").stdout
    before = [each["id"] for each in server.json("experiment", "list")["items"]]
    made = server.json("experiment", "submit", *small, "--idempotency-key", "e")
    assert server.json("experiment", "submit", *small, "--idempotency-key", "e")["id"] == made["id"]
    assert (made["runs"], made["margin"], made["baseline"]) == (4, 2.0, "plain")
    assert [each["id"] for each in server.json("experiment", "list")["items"]] == [made["id"], *before]
    for reference in (made["id"], made["id"][:8], made["id"][2:8], str(made["number"])):
        assert server.json("experiment", "show", reference)["sentence"] == "No run is done yet."
    assert "4 queued; margin 2 points" in server.laser("experiment", "show", made["id"]).stdout
    page = server.laser("experiment", "report", made["id"]).stdout
    assert page.startswith("# LASER on 4×4 Sudoku\n")
    assert server.laser("experiment", "report", made["id"], "--json", "--to", str(tmp_path / "r.json")).returncode == 0
    assert json.loads((tmp_path / "r.json").read_text())["experiment"]["id"] == made["id"]
    assert "haven't ended" in server.laser("experiment", "delete", made["id"]).stderr
    assert server.json("experiment", "cancel", made["id"])["states"] == {"cancelled": 4}
    assert server.json("experiment", "delete", made["id"]) == {"deleted": [made["id"]]}
    assert "No experiment" in server.laser("experiment", "show", made["id"]).stderr
    wrong = server.laser("experiment", "submit", *small, "--set", "margin=0")
    assert (wrong.returncode, "margin: expected more than 0" in wrong.stderr) == (2, True)
