"""Curves to TensorBoard and MLflow, read back by their own readers.

LASER_TEST_MLFLOW names the `mlflow` command of a virtual environment of its own (`pip install mlflow`).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from client.curves import Curve, Curves
from client.errors import BadInput, Refused
from client.to_mlflow import MlflowServer
from client.to_tensorboard import write_events

MLFLOW = os.environ.get("LASER_TEST_MLFLOW", "")
RUN: dict[str, Any] = {
    "id": "r_abcdefghijkl",
    "name": "plain · seed 1",
    "tags": ["a", "b"],
    "state": "succeeded",
    "created_at": 1e9,
    "started_at": 1e9 + 10,
    "finished_at": 1e9 + 1000,
    "updated_at": 1e9 + 1000,
    "step_time_s": 0.25,
    "config": {"kind": "train", "seed": 1, "training": {"steps": 2500, "learning_rate": 1e-3}, "tags": ["a"]},
}
STEPS = np.arange(1, 2501)
CURVES = Curves(
    {
        "train.loss": Curve(STEPS, 1 / STEPS),
        "test.exact_accuracy": Curve(np.array([100, 200]), np.array([0.1, 0.7])),
        "odd": Curve(np.array([0, 7]), np.array([np.nan, -3e-300])),
    }
)


@pytest.mark.filterwarnings("default")
def test_tensorboard_reads_the_same_curves(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_events(RUN, CURVES, tmp_path)
    events = EventAccumulator(str(tmp_path / RUN["id"]), size_guidance={"scalars": 0}).Reload()
    assert set(events.Tags()["scalars"]) == set(CURVES)
    for key, curve in CURVES.items():
        read = events.Scalars(key)
        assert [event.step for event in read] == curve.steps.tolist()
        np.testing.assert_array_equal(np.float32([event.value for event in read]), curve.values.astype(np.float32))
    assert events.Scalars("train.loss")[3].wall_time == 1e9 + 10 + 4 * 0.25
    with pytest.raises(BadInput, match="holds events already"):
        write_events(RUN, CURVES, tmp_path)


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real MLflow server."""
    if not MLFLOW:
        pytest.skip("no MLflow: name the command of its own virtual environment in LASER_TEST_MLFLOW")
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [MLFLOW, "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--workers", "1"]
    command += ["--artifacts-destination", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 150
        while not _answers(url):
            assert server.poll() is None, (folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, (folder / "log").read_text()[-2000:]
            time.sleep(0.3)
        yield url
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=2, trust_env=False).is_success
    except httpx.TransportError:
        return False


READ = """
import json, sys, mlflow
client = mlflow.MlflowClient(sys.argv[1])
run = client.get_run(sys.argv[2])
curves = {key: [(m.step, repr(m.value), m.timestamp) for m in client.get_metric_history(run.info.run_id, key)]
          for key in run.data.metrics}
print(json.dumps({"curves": curves, "params": run.data.params, "status": run.info.status, "name": run.info.run_name,
                  "experiment": client.get_experiment(run.info.experiment_id).name, "tags": run.data.tags}))
"""


@pytest.mark.timeout(400)
def test_mlflow_reads_the_same_curves(mlflow: str) -> None:
    with MlflowServer(mlflow) as server:
        ids = [server.add(RUN, CURVES, "lab") for _ in range(2)]  # the experiment is made once
        with pytest.raises(Refused, match="not found"):
            server._post("runs/update", run_id="unknown")
    assert len(set(ids)) == 2
    python = Path(MLFLOW).with_name("python")
    done = subprocess.run([python, "-c", READ, mlflow, ids[1]], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout.splitlines()[-1])
    assert (read["status"], read["name"], read["experiment"]) == ("FINISHED", "plain · seed 1", "lab")
    assert read["tags"]["laser.run"] == RUN["id"]
    assert read["params"]["training.steps"] == "2500"
    assert read["params"]["tags"] == '["a"]'
    assert set(read["curves"]) == set(CURVES)
    for key, curve in CURVES.items():
        points = sorted((step, float(value)) for step, value, _ in read["curves"][key])
        assert [step for step, _ in points] == curve.steps.tolist()
        np.testing.assert_array_equal([value for _, value in points], curve.values)


def test_who_is_no_mlflow_is_told_so() -> None:
    with MlflowServer("http://127.0.0.1:9") as nobody, pytest.raises(BadInput, match="no MLflow server"):
        nobody.add(RUN, CURVES, "lab")
