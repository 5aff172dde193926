"""Training processes are forked, tell how they ended, and leave nothing behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from worker import forkserver
from worker.forkserver import ForkServer, NotReady


@pytest.fixture
def fork(tmp_path):
    """``fork("say", "7")``: the training process that does so for job 7."""
    servers = {}

    def fork(what, job="0", environ=(), keep_open=2):
        server = servers.get(what) or servers.setdefault(what, ForkServer("tests.worker.sleeper", what))
        return server.start(Path("/jobs") / job, dict(environ), tmp_path / "out", keep_open, lambda: False)

    fork.servers = servers
    yield fork
    for server in servers.values():
        server.close()


def test_exit_code_output_and_environment_are_those_of_the_job(fork, tmp_path):
    codes = [fork("say", str(job), {"CUDA_VISIBLE_DEVICES": str(job)}).wait(60) for job in (0, 7)]
    assert codes == [0, 7]
    assert (tmp_path / "out").read_text() == "said 0\nsaid 7\n"


def test_a_training_process_that_raises_says_so(fork, tmp_path):
    assert fork("raise").wait(60) == 1
    assert "RuntimeError: something unforeseen" in (tmp_path / "out").read_text()


def test_its_name_tells_the_run(fork, eventually):
    line = Path(f"/proc/{fork('sleep', 'r_abc-1.job.json').pid}/cmdline")
    eventually(lambda: line.read_text().startswith("worker.trainer /jobs/r_abc-1.job.json"), "its name")


def test_kill_ends_it_and_what_it_started(fork, tmp_path, eventually):
    training = fork("parent")
    child = int(eventually(lambda: (tmp_path / "out").read_text(), "its child"))
    training.kill()
    training.kill()  # harmless
    assert training.wait(0) == -signal.SIGKILL
    eventually(lambda: not Path(f"/proc/{child}").exists() or " Z " in Path(f"/proc/{child}/stat").read_text())


def test_terminate_reaches_one_that_has_just_begun(fork):
    training = fork("sleep")
    training.terminate()
    assert training.wait(10) == -signal.SIGTERM


def test_its_directory_lock_is_inherited(fork, tmp_path):
    with (tmp_path / "lock").open("w") as lock:
        training = fork("sleep", keep_open=lock.fileno())
    held = [os.readlink(file) for file in Path(f"/proc/{training.pid}/fd").iterdir()]
    assert str(tmp_path / "lock") in held


def test_it_ends_with_its_server_and_the_next_one_gets_a_new_server(fork):
    training = fork("sleep")
    os.kill(fork.servers["sleep"]._popen.pid, signal.SIGKILL)
    assert training.wait(10) == -signal.SIGKILL
    fork.servers["sleep"]._popen.wait()
    again = fork("sleep")
    assert again.wait(0) is None


def test_the_end_of_one_that_nobody_waited_for_is_not_the_answer_to_the_next(fork):
    fork("say", "3")
    assert fork("say", "7").wait(60) == 7


def test_one_that_still_runs_is_ended_by_the_next(fork, eventually):
    first = fork("sleep")
    assert fork("sleep").wait(0) is None
    eventually(lambda: not Path(f"/proc/{first.pid}").exists(), 10)


def test_an_answer_that_nobody_heard_is_not_the_next_ones(fork, monkeypatch):
    fork("say").wait(60)

    def interrupted(*_):
        monkeypatch.undo()
        raise InterruptedError

    monkeypatch.setattr(forkserver, "_hear", interrupted)
    with pytest.raises(InterruptedError):
        fork("say", "3")
    assert fork("say", "7").wait(60) == 7


def test_one_that_ends_before_it_can_say_so_is_an_error_and_harms_no_other(fork):
    with pytest.raises(ChildProcessError, match="no training process"):
        fork("say", environ={"A\0B": "no name of a variable"})
    assert fork("say", "7").wait(60) == 7


def test_a_server_is_not_ended_by_what_ends_workers(fork):
    training = fork("sleep")
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(fork.servers["sleep"]._popen.pid, number)
    training.kill()
    assert fork("sleep").wait(0) is None


def test_a_server_that_cannot_start_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    with pytest.raises(OSError, match="/nonexistent/python"):
        ForkServer("tests.worker.sleeper", "say")


def test_whoever_waits_for_a_server_that_loads_can_be_cut_short(tmp_path, monkeypatch):
    monkeypatch.setattr(forkserver, "TICK_S", 0)
    server = ForkServer("tests.worker.sleeper", "say")
    with pytest.raises(NotReady):
        server.start(Path("0"), {}, tmp_path / "out", 2, lambda: True)
    server.close()
