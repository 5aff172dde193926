"""RabbitMQ in Valkey's place: rings through a quorum queue, and a broker that goes away and comes back."""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from kombu import Connection, Queue

from store import broker
from store.states import State
from worker.process import tie_to_parent

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
PORTS = {"RABBITMQ_NODE_PORT": 0, "RABBITMQ_DIST_PORT": 0, "ERL_EPMD_PORT": 0}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not SERVER.exists(), reason="no RabbitMQ: apt-get install rabbitmq-server"),
]


class Rabbit:
    """A server of one node on loopback, which keeps its queues over a restart."""

    def __init__(self, folder):
        self.folder, self.server = folder, None
        self.user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        os.chown(folder, self.user.pw_uid, self.user.pw_gid)
        self.ports = {name: str(_free_port()) for name in PORTS}
        self.url = f"amqp://guest:guest@127.0.0.1:{self.ports['RABBITMQ_NODE_PORT']}//"

    def start(self):
        names = {"NODENAME": f"laser{os.getpid()}@localhost", "NODE_IP_ADDRESS": "127.0.0.1"}
        names |= {"MNESIA_BASE": f"{self.folder}/db", "LOG_BASE": f"{self.folder}/log"}
        names |= {"ENABLED_PLUGINS_FILE": f"{self.folder}/plugins", "CONFIG_FILE": f"{self.folder}/none"}
        names |= {"SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}"}
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "ERL_EPMD_ADDRESS": "127.0.0.1"}
        environment |= self.ports | {f"RABBITMQ_{name}": value for name, value in names.items()}
        self.server = subprocess.Popen(
            [SERVER],
            env=environment,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            user=self.user.pw_uid,
            group=self.user.pw_gid,
            extra_groups=[],
            start_new_session=True,
            preexec_fn=functools.partial(tie_to_parent, os.getpid()),
        )
        bell = broker.producer("test", self.url, 2.0)
        deadline = time.monotonic() + 120
        while broker.check(bell) != "ok":
            is_starting = self.server.poll() is None and time.monotonic() < deadline
            assert is_starting, "RabbitMQ doesn't start"
            time.sleep(0.2)
        bell.close()

    def stop(self):
        if self.server is not None:
            os.killpg(self.server.pid, signal.SIGTERM)
            self.server.wait(60)
            self.server = None


@pytest.fixture(scope="session")
def rabbit():
    folder = Path(tempfile.mkdtemp(prefix="rmq-", dir="/tmp"))
    rabbit = Rabbit(folder)
    try:
        rabbit.start()
        yield rabbit
    finally:
        rabbit.stop()
        epmd = ["epmd", "-port", rabbit.ports["ERL_EPMD_PORT"], "-kill"]  # it makes itself a daemon
        subprocess.run(epmd, capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_rings_go_through_a_quorum_queue_also_after_a_restart(rabbit, start_worker, submit, tiny, finished):
    quick = tiny | {"training": tiny["training"] | {"steps": 3}}
    worker = start_worker(broker=rabbit.url)
    first = finished(submit(**quick, seed=0).id)
    assert first.state == State.succeeded, (first.reason, worker.log.read_text()[-2000:])
    with Connection(rabbit.url) as connection:
        quorum = Queue("celery", queue_arguments={"x-queue-type": "quorum"}, channel=connection.default_channel)
        quorum.queue_declare()  # refused unless its type is this
    rabbit.stop()
    waiting = submit(**quick, seed=1)
    rabbit.start()
    second = finished(waiting.id)
    assert second.state == State.succeeded, (second.reason, worker.log.read_text()[-2000:])


def test_a_wrong_password_is_no_surprise(rabbit):
    bell = broker.producer("test", rabbit.url.replace("guest:guest", "guest:wrong"), 2.0)
    assert broker.check(bell) == "unreachable: AccessRefused"
    with pytest.raises(broker.AWAY):
        broker.ring(bell)
    bell.close()


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
