"""Training processes end with their parent, know no secret, and never share a run's directory."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from worker.process import DirectoryLock, DirectoryTaken, scrubbed

SLEEPER = [sys.executable, "-c", "import time; time.sleep(100)"]
PARENT = """
import sys, time
from pathlib import Path
from worker.forkserver import ForkServer
from worker.process import DirectoryLock
folder = Path(sys.argv[1])
lock = DirectoryLock(folder)
lock.take(0, lambda: False)
server = ForkServer("tests.worker.sleeper", "100")
child = server.start(folder / "job.json", {}, folder / "out", lock.fd, lambda: False)
lock.name_holder(child.pid)
lock.close()
print(child.pid, flush=True)
time.sleep(100)
"""


def is_alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


@pytest.fixture
def family(tmp_path):
    """(parent, pid of its training process), which holds the lock of tmp_path."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    yield parent, int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()


def test_a_training_process_ends_when_its_parent_is_killed(family, eventually):
    parent, pid = family
    assert is_alive(pid)
    parent.kill()
    eventually(lambda: not is_alive(pid), "the end of the child")


def test_a_stopped_parents_training_process_is_killed_by_the_next_attempt(family, tmp_path):
    parent, pid = family
    parent.send_signal(signal.SIGSTOP)
    lock = DirectoryLock(tmp_path)
    lock.take(10, lambda: False)
    assert not is_alive(pid)
    lock.close()


def test_the_lock_waits_for_a_holder_elsewhere_and_then_gives_up(family, tmp_path):
    _, pid = family
    (tmp_path / ".trainer").write_text(f"elsewhere {pid}")
    lock = DirectoryLock(tmp_path)
    with pytest.raises(DirectoryTaken, match="elsewhere"):
        lock.take(0.3, lambda: False)
    with pytest.raises(DirectoryTaken):
        lock.take(100, lambda: True)
    assert is_alive(pid)
    lock.close()


def test_only_the_runs_own_training_process_is_killed(tmp_path):
    bystander = subprocess.Popen(SLEEPER)
    holder, lock = DirectoryLock(tmp_path), DirectoryLock(tmp_path)
    holder.take(0, lambda: False)
    holder.name_holder(bystander.pid)
    with pytest.raises(DirectoryTaken):
        lock.take(0.3, lambda: False)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()
    holder.close()
    lock.close()


def test_secrets_stay_behind():
    secrets = {
        "LASER_DATABASE_URL": "postgresql://u:p@h/d", "LASER_BROKER_URL": "redis://:p@h", "LASER_TOKEN": "t", "PGPASSWORD": "p",
        "AWS_SECRET_ACCESS_KEY": "k", "CELERY_BROKER_URL": "x", "HF_TOKEN": "t", "SSH_AUTH_SOCK": "s",
    }  # fmt: skip
    needed = {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "1", "OMP_NUM_THREADS": "2", "LC_ALL": "C", "LASER_HOME": "/h"}
    assert scrubbed(secrets | needed) == needed
