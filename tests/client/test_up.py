"""`laser up` and `laser demo` with every real part: they leave nothing behind, however they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from client.home import Home
from client.http import Client
from client.ports import free_port

LASER = Path(sys.executable).with_name("laser")
Processes = Callable[[Path], list[str]]

pytestmark = pytest.mark.slow


@contextmanager
def started(home: Path, *arguments: str, cwd: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """A `laser` command at work."""
    with subprocess.Popen(
        [LASER, *arguments],
        env={**os.environ, "LASER_HOME": str(home)},
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def up(home: Path) -> list[str]:
    return ["up", "--json", "--slots", "1", "--port", str(free_port(20_000 + os.getpid() % 10_000))]


def announced(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What `laser up --json` prints once everything is ready."""
    assert process.stdout
    line = process.stdout.readline()
    assert line, process.stderr and process.stderr.read()
    answer: dict[str, Any] = json.loads(line)
    return answer


def eventually(holds: Callable[[], Any], timeout_s: float = 60) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (answer := holds()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return answer


def test_up_starts_all_restarts_what_dies_and_stops_in_order(home_path: Path, processes_of: Processes) -> None:
    with started(home_path, *up(home_path)) as process:
        url = announced(process)["url"]
        with Client(url, Home(home_path).token) as client:
            assert [(w["alive"], w["slots"]) for w in client.workers()] == [(True, 1)]
            for part in ("valkey-server", "-m api", "-A worker.app"):
                pid = int(next(p for p in processes_of(home_path) if part in p).split()[0])
                os.kill(pid, signal.SIGKILL)
                eventually(
                    lambda part=part, pid=pid: {int(p.split()[0]) for p in processes_of(home_path) if part in p} - {pid}
                )
                eventually(lambda: client.is_up() and client.get("ready")["broker"] == "ok")
            eventually(lambda: client.workers()[0]["pid"] != pid)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    for part in ("broker", "api", "worker"):
        assert f"{part:<8} ended (by SIGKILL); starting it again in 1 s" in errors
    assert errors.rstrip().endswith("Stopped")
    assert "Warm shutdown" in (home_path / "logs" / "worker.log").read_text()
    assert Home(home_path).running() is None


@pytest.mark.parametrize("moment", ["api", "worker", "training"])
def test_nothing_outlives_a_killed_up(
    home_path: Path, gone: Callable[[Path], bool], processes_of: Processes, moment: str
) -> None:
    part = {"api": "-m api", "worker": "celery", "training": "worker.trainer"}[moment]
    with started(home_path, *up(home_path)) as process:
        if moment == "training":
            url = announced(process)["url"]
            with Client(url, Home(home_path).token) as client:
                client.submit({"kind": "train", "training": {"steps": 100_000}})
        eventually(lambda: [p for p in processes_of(home_path) if part in p])
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert gone(home_path)


def test_a_part_that_cannot_start_is_shown(home_path: Path) -> None:
    home_path.mkdir()
    (home_path / "laser.db").write_text("this is no database")
    with started(home_path, *up(home_path)) as process:
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    detail = json.loads(output)["detail"]
    assert "api ended (exit code 1) while starting" in detail
    assert "file is not a database" in detail
    assert errors.startswith("broker   ready in")


def test_demo_writes_its_report_and_its_runs_stay(home_path: Path, tmp_path: Path) -> None:
    quick = ["demo", "--seeds", "1", "--steps", "12", "--puzzles", "8"]
    with started(home_path, *quick, cwd=tmp_path) as process:
        output, errors = process.communicate(timeout=170)
    assert process.returncode == 0, output + errors
    report = json.loads((tmp_path / "demo-report.json").read_text())
    assert set(report) == {"runs", "url", "summary"}
    assert [(run["variant"], run["seed"]) for run in report["runs"]] == [("none", 0), ("laser-fused", 0)]
    for run in report["runs"]:
        assert set(run) == {
            "id", "variant", "seed", "state", "exact_accuracy", "saved_bytes", "eager_bytes", "step_time_s",
        }  # fmt: skip
        assert run["state"] == "succeeded"
        assert 0 <= run["exact_accuracy"] <= 1
        assert 0 < run["saved_bytes"] <= run["eager_bytes"]
        assert run["step_time_s"] > 0
    assert "/experiments/x_" in report["url"]
    assert output.rstrip().splitlines()[-1].startswith("demo: 2 of 2 runs succeeded")
    assert not (tmp_path / "demo-report.json.tmp").exists()

    with started(
        home_path, "up", "--json", "--workers", "0", "--port", str(free_port(20_000 + os.getpid() % 10_000))
    ) as process:
        url = announced(process)["url"]
        with Client(url, Home(home_path).token) as client:
            assert {run["id"] for run in client.iter_runs(tag="demo")} == {run["id"] for run in report["runs"]}
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


@pytest.mark.parametrize("moment", ["valkey-server", "celery", "worker.trainer"])
def test_ctrl_c_in_the_demo_leaves_nothing(
    home_path: Path, tmp_path: Path, processes_of: Processes, gone: Callable[[Path], bool], moment: str
) -> None:
    with started(home_path, "demo", "--seeds", "1", cwd=tmp_path) as process:
        eventually(lambda: [p for p in processes_of(home_path) if moment in p], 120)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert gone(home_path)
    assert not (tmp_path / "demo-report.json").exists()


def test_a_report_that_cannot_be_written_is_told_before_anything_starts(home_path: Path, tmp_path: Path) -> None:
    with started(home_path, "demo", "--report", str(tmp_path / "missing" / "report.json")) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "can't be written: No such file or directory" in errors
    assert not home_path.exists()
