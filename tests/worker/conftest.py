"""Workers for tests: a slot with a stand-in for the training process, and whole Celery workers with the real one."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from laser_core.events import Metrics, Result
from store import database, metrics, workers
from store.runs import get_run
from store.settings import Settings
from store.states import FINAL
from worker import spool
from worker.forkserver import ForkServer
from worker.job import Job
from worker.process import tie_to_parent
from worker.supervisor import Slot

PATIENCE_S = 150.0  # other tests may run on the same cores


@pytest.fixture
def eventually():
    """``eventually(holds)``: its first true answer."""

    def eventually(holds, what="what was waited for", timeout_s=PATIENCE_S):
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if answer := holds():
                return answer
            time.sleep(0.05)
        pytest.fail(f"{what} did not happen within {timeout_s:g} s")

    return eventually


@pytest.fixture
def settings(tmp_path):
    """A worker that notices soon."""
    return Settings(home=tmp_path / "home", lease_s=3, heartbeat_s=0.5, reconcile_s=0.5)


@pytest.fixture
def slot(engine, settings):
    """``slot("good")``: a slot whose training process plays that scenario."""
    servers = []

    def slot(scenario, **changes):
        values = {"engine": engine, "settings": settings, "worker_id": "w1", "threads": 1}
        servers.append(ForkServer("tests.worker.standin", scenario))
        return Slot(**values | {"forkserver": servers[-1]} | changes)

    yield slot
    for server in servers:
        server.close()


@pytest.fixture
def losses(engine):
    """The steps at which a run's loss is stored, in order."""

    def losses(run_id):
        return [step for key, step, _ in metrics.iter_points(engine, run_id) if key == "train.loss"]

    return losses


@pytest.fixture
def outage(engine, database_url):
    """``with outage():`` the database answers nobody. SQLite: another writer holds the file; PostgreSQL: it lets none in."""
    if engine.dialect.name == "sqlite":

        @sa.event.listens_for(engine, "begin")
        def _impatient(connection):
            connection.connection.dbapi_connection.execute("PRAGMA busy_timeout=50")

        engine.dispose()
        return functools.partial(_locked, database_url)
    return functools.partial(_shut, database_url)


@contextlib.contextmanager
def _locked(url):
    other = database.connect(url)
    with database.write(other):
        yield
    other.dispose()


@contextlib.contextmanager
def _shut(url):
    name = sa.make_url(url).database
    server = sa.create_engine(sa.make_url(url).set(database="template1"), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        connection.exec_driver_sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        yield
        connection.exec_driver_sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    server.dispose()


# --- whole workers -----------------------------------------------------------------------------------------------------


@dataclass
class CeleryWorker:
    """A ``celery worker`` with its reconciler; every process of it has its home in its environment."""

    main: subprocess.Popen
    home: Path
    log: Path

    def kill(self):
        self.main.kill()
        self.main.wait()

    def processes(self, *words):
        """Pids of its live processes whose command line holds every word."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                is_ours = f"LASER_HOME={self.home}\0".encode() in (entry / "environ").read_bytes()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            if is_ours and command and all(word in command for word in words):
                found.append(int(entry.name))
        return sorted(found)


@pytest.fixture
def start_worker(engine, database_url, settings, broker_url, tmp_path, eventually):
    """``start_worker(slots=2)``: a worker (with the home and artifacts of the settings ``of``) that has registered. All are
    killed at the end."""
    started = []

    def start_worker(broker=broker_url, slots=1, of=settings, **more):
        own = more | {"HOME": of.home, "DATABASE_URL": database_url, "BROKER_URL": broker, "SLOTS": slots}
        own |= {name.upper(): getattr(of, name) for name in ("lease_s", "heartbeat_s", "reconcile_s", "artifacts_url")}
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **{f"LASER_{name}": str(x) for name, x in own.items()}}
        argv = [sys.executable, "-m", "celery", "-A", "worker.app", "worker"]
        argv += ["--without-mingle", "--without-gossip", "--without-heartbeat", "--loglevel", "INFO"]
        log = tmp_path / f"worker{len(started)}.log"
        with log.open("wb") as file:
            tie = functools.partial(tie_to_parent, os.getpid())  # a killed test run leaves no worker behind
            main = subprocess.Popen(
                argv, env=environment, stdout=file, stderr=file, start_new_session=True, preexec_fn=tie
            )
        worker = CeleryWorker(main, of.home, log)
        started.append(worker)

        def is_registered():
            assert main.poll() is None, log.read_text()[-3000:]
            return any(known.pid == main.pid for known in workers.list_workers(engine))

        eventually(is_registered, "the start of the worker")
        return worker

    yield start_worker
    for worker in started:
        worker.kill()
    eventually(lambda: not any(worker.processes() for worker in started), "the end of every process", 15)


@pytest.fixture
def finished(engine, eventually):
    """``finished(run_id)``: the run once it has ended."""

    def finished(run_id):
        eventually(lambda: get_run(engine, run_id).state in FINAL, f"the end of {run_id}")
        return get_run(engine, run_id)

    return finished


@pytest.fixture
def midway(engine, eventually):
    """``midway(run_id)``: waits until a run has a checkpoint and steps left."""

    def midway(run_id):
        def is_midway():
            run = get_run(engine, run_id)
            assert run.state not in FINAL, f"{run.state} {run.reason}: too soon to be disturbed"
            return run.checkpoint and run.step < run.steps

        eventually(is_midway, f"a checkpoint in the middle of {run_id}")

    return midway


@pytest.fixture(scope="session")
def tiny():
    """Changes to a configuration that trains for seconds on one core, with time to be interrupted."""
    training = {"steps": 240, "batch_size": 8, "warmup_steps": 5, "log_every": 1, "checkpoint_every": 20}
    return {
        "task": {"kind": "sudoku", "size": 4, "train_puzzles": 40, "test_puzzles": 20},
        "model": {"width": 16, "heads": 2, "latent_steps": 2, "cycles": 2},
        "store": {"kind": "laser", "energy": 0.9},
        "training": training,
    }


@dataclass(frozen=True)
class Undisturbed:
    weights_sha256: str
    losses: dict[int, float]


@pytest.fixture(scope="session")
def undisturbed(tiny, tmp_path_factory):
    """What ``tiny`` gives when nobody interferes, by the training process alone."""
    return carried_out(tiny, tmp_path_factory.mktemp("undisturbed"))


def carried_out(tiny, folder, processes=1):
    """What a run gives without a worker."""
    file = folder / "spool"
    job = Job({"kind": "train", **tiny}, str(folder), None, {}, None, str(file), 1, processes=processes)
    job.save(folder / "job.json")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    argv = [sys.executable, "-m", "worker.trainer", str(folder / "job.json")]
    subprocess.run(argv, env=environment, check=True, timeout=PATIENCE_S)
    events, _ = spool.read(file, 0, 2**62)
    (result,) = (event for event in events if isinstance(event, Result))
    points = {
        event.step: event.values["train.loss"]
        for event in events
        if isinstance(event, Metrics) and "train.loss" in event.values
    }
    return Undisturbed(result.weights_sha256, points)


@pytest.fixture
def assert_undisturbed(engine, undisturbed, finished):
    """Asserts that a run ended as if nothing had happened: state, every metric point once and equal, same weights."""

    def assert_undisturbed(run_id):
        run = finished(run_id)
        assert run.state == "succeeded", run.reason
        points = [(step, x) for key, step, x in metrics.iter_points(engine, run_id) if key == "train.loss"]
        assert points == sorted(undisturbed.losses.items())
        assert run.result["weights_sha256"] == undisturbed.weights_sha256
        return run

    return assert_undisturbed
