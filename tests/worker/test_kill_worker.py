"""kill -9 of the worker's processes in the middle of a run: it ends as if nothing had happened."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_of_the_main_process(start_worker, submit, tiny, midway, assert_undisturbed):
    """On both databases."""
    worker = start_worker()
    run = submit(**tiny)
    midway(run.id)
    worker.kill()
    start_worker()
    assert assert_undisturbed(run.id).attempt == 2


@SQLITE
def test_of_the_training_process(start_worker, submit, tiny, midway, assert_undisturbed):
    worker = start_worker()
    run = submit(**tiny)
    midway(run.id)
    (trainer,) = worker.processes("worker.trainer")
    os.kill(trainer, signal.SIGKILL)
    assert assert_undisturbed(run.id).attempt == 2


@SQLITE
def test_of_the_supervisor(start_worker, submit, tiny, midway, assert_undisturbed):
    """Celery replaces its child, and the next ring finds the run."""
    worker = start_worker()
    run = submit(**tiny)
    midway(run.id)
    (trainer,) = worker.processes("worker.trainer")
    os.kill(_parent(trainer), signal.SIGKILL)
    assert assert_undisturbed(run.id).attempt == 2


@SQLITE
def test_a_supervisor_stopped_beyond_its_lease_is_fenced(
    start_worker, submit, tiny, midway, assert_undisturbed, eventually
):
    """Another slot takes the run, kills the training process left behind, and the first one finds itself superseded."""
    worker = start_worker(slots=2)
    run = submit(**tiny)
    midway(run.id)
    children = [pid for pid in worker.processes("celery") if pid != worker.main.pid]
    (trainer,) = worker.processes("worker.trainer")
    (parent,) = [pid for pid in children if pid == _parent(_parent(trainer))]
    os.kill(parent, signal.SIGSTOP)
    assert assert_undisturbed(run.id).attempt == 2
    os.kill(parent, signal.SIGCONT)
    eventually(lambda: "superseded" in worker.log.read_text(), "the fence")
    assert_undisturbed(run.id)


def _parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
