"""Children end with their parent, whatever ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from client.broker import answers_ping, broker_url, runtime_dir, valkey_command
from client.errors import StackError
from client.process import Command, Process

PARENT = """
import os, sys, time
from pathlib import Path
from client.broker import answers_ping, runtime_dir, valkey_command
from client.process import Command, Process
home = Path(os.environ["LASER_HOME"])
socket = runtime_dir(home) / "valkey.sock"
broker = Process(valkey_command(home, socket, home / "broker.log"))
sleeper = Process(Command("sleeper", ["sleep", "600"], dict(os.environ), home / "sleeper.log"))
while not answers_ping(socket):
    time.sleep(0.01)
print("ready", flush=True)
time.sleep(600)
"""


def test_no_orphan_is_left_when_the_parent_is_killed(
    home_path: Path, processes_of: Callable[[Path], list[str]], gone: Callable[[Path], bool]
) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        assert parent.stdout.readline() == "ready\n"
        assert len(processes_of(home_path)) == 3
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert gone(home_path)


def test_valkey_starts_keeps_its_data_and_stops(home_path: Path) -> None:
    socket_path = runtime_dir(home_path) / "valkey.sock"
    for _ in range(2):
        process = Process(valkey_command(home_path, socket_path, home_path / "broker.log"))
        try:
            while not answers_ping(socket_path):
                assert process.exit_code is None, process.log_tail()
            assert socket_path.stat().st_mode & 0o777 == 0o700
            process.terminate()
            assert process.wait(10)
            assert process.exit_code == 0
        finally:
            process.kill()
    assert list((home_path / "valkey" / "appendonlydir").iterdir())
    assert "Ready to accept connections unix" in process.log_tail(lines=100)


def test_celery_can_use_the_socket(home_path: Path) -> None:
    from kombu import Connection

    socket_path = runtime_dir(home_path) / "valkey.sock"
    process = Process(valkey_command(home_path, socket_path, home_path / "broker.log"))
    try:
        while not answers_ping(socket_path):
            assert process.exit_code is None, process.log_tail()
        with Connection(broker_url(socket_path)) as connection, connection.SimpleQueue("test") as queue:
            queue.put({"ring": 1})
            assert queue.get(timeout=5).payload == {"ring": 1}
    finally:
        process.kill()


def test_kill_takes_the_whole_group(home_path: Path, gone: Callable[[Path], bool]) -> None:
    script = "sleep 600 & sleep 600 & wait"
    process = Process(Command("shell", ["sh", "-c", script], dict(os.environ), home_path / "shell.log"))
    process.kill()
    assert process.exit_code == -signal.SIGKILL
    assert gone(home_path)


def test_waiting_is_cut_short(home_path: Path) -> None:
    process = Process(Command("sleeper", ["sleep", "600"], dict(os.environ), home_path / "sleeper.log"))
    assert not process.wait(600, is_cut_short=lambda: True)
    process.kill()


def test_a_child_has_no_signal_held_and_no_input(home_path: Path) -> None:
    script = "grep SigBlk /proc/self/status; cat"
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        process = Process(Command("shell", ["sh", "-c", script], dict(os.environ), home_path / "shell.log"))
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    assert process.wait(10)
    assert process.log_tail().split() == ["SigBlk:", "0000000000000000"]


def test_the_runtime_directory_is_private_short_and_always_the_same(home_path: Path, tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 200)
    path = runtime_dir(deep)
    assert path == runtime_dir(deep) != runtime_dir(home_path)
    assert len(os.fsencode(path / "valkey.sock")) <= 107
    assert path.stat().st_mode & 0o777 == 0o700
    path.chmod(0o755)
    with pytest.raises(StackError, match="not a private directory"):
        runtime_dir(deep)
    path.rmdir()
    runtime_dir(home_path).rmdir()
