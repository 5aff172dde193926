"""The real app on a real database, asked by TestClient or, for streams, by a real server."""

from __future__ import annotations

import threading
import time
import warnings

import httpx
import pytest
import uvicorn

from api.app import create_app
from laser_core.events import CheckpointSaved, Log, Memory, Metrics, Progress, Result, SiteBytes, Trace
from store import claims
from store.ingest import ingest
from store.states import State

with warnings.catch_warnings():  # it asks for httpx2; the client room stays with httpx
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

BASE = "http://127.0.0.1:8420"


@pytest.fixture
def app(settings, database_url):
    """The app of an empty database."""
    app = create_app(settings.model_copy(update={"database_url": database_url}))
    yield app
    app.state.doorbell.close()
    app.state.engine.dispose()


@pytest.fixture
def engine(app):
    """The app's own engine."""
    return app.state.engine


@pytest.fixture
def token(app, settings):
    return settings.token_file.read_text().strip()


@pytest.fixture
def nobody(app):
    """A client without credentials."""
    with TestClient(app, base_url=BASE, follow_redirects=False) as client:
        yield client


@pytest.fixture
def api(app, token):
    """A client of the local user; addresses are below /api/v1."""
    headers = {"Authorization": f"Bearer {token}"}
    with TestClient(app, base_url=f"{BASE}/api/v1", headers=headers, follow_redirects=False) as client:
        yield client


@pytest.fixture
def started(api, engine, settings):
    """Submits a run and puts it in a worker's hands: ``started()`` gives its id; its epoch is 1."""

    def started(**changes):
        run_id = api.post("runs", json={"kind": "train", **changes}).json()["id"]
        assert claims.claim_run(engine, "w1", 20, settings=settings).run_id == run_id
        claims.mark_running(engine, run_id, 1)
        return run_id

    return started


@pytest.fixture
def finished(started, engine, settings):
    """A run that trained three steps, said a bit of everything, left a checkpoint and succeeded."""

    def finished(**changes):
        run_id = started(**changes)
        folder = settings.artifacts_dir / run_id / "checkpoints" / "step-00000003"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"weights")
        site, sha = "layers.0.qkv", "a" * 64
        said = [
            Log("hello"),
            Metrics(1, {"train.loss": 2.0}),
            Metrics(2, {"train.loss": float("nan")}),
            Metrics(3, {"train.loss": 1.0, "test.exact_accuracy": 0.5}),
            Trace(2, site, 0, "init", 4, 16, 0.9, float("nan"), 256, (3.0, 1.0)),
            Trace(3, site, 1, "grow", 8, 16, 0.99, 0.1, 512, (3.0, 2.0)),
            Memory(3, 500, 1000, (SiteBytes(site, "linear", 500),)),
            Progress(3, 3, 0.25),
            CheckpointSaved(3, "step-00000003", {"model.safetensors": sha}, 7),
            Result({"exact_accuracy": 0.5, "loss": float("nan")}, weights_sha256=sha),
        ]
        ingest(engine, run_id, 1, 0, 100, said)
        claims.finish(engine, run_id, 1, State.succeeded)
        return run_id

    return finished


@pytest.fixture
def server(app):
    """URL of a real server of the app, for streams."""
    config = uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def live(server, token):
    """A client of the real server."""
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"{server}/api/v1", headers=headers, timeout=10) as client:
        yield client
