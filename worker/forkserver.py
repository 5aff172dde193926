"""A process that has loaded torch and forks a training process for each run of its slot: a run starts in milliseconds
instead of the seconds that loading takes.

    python -m worker.forkserver SOCKET TRAINER [ARGUMENT …] SPACES

TRAINER is a module with ``main(ARGUMENT …, job_file)``, which gives the exit code, and perhaps ``load()``, which is called
once and ahead. CUDA can't be carried over a fork, so nothing here or in ``load`` may touch a GPU.

The protocol: a request (JSON and two descriptors) is answered by the pid, and then by the exit code. Killed supervisor, fork
server and training process go together, as each is tied to the one before it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from worker.process import scrubbed, tie_to_parent

TICK_S = 0.25
MESSAGE_BYTES = 64 * 1024
ROOM = " " * 200  # on the command line, which a training process writes its run's name over
CUT_SHORT = "its worker shut down before the training process could start"
STOPS = (signal.SIGTERM, signal.SIGINT)


class NotReady(Exception):
    """The worker shuts down while torch is still being loaded."""


class ForkServer:
    """One slot's fork server. It starts at once and loads on its own; whoever asks too early waits for it."""

    def __init__(self, *trainer: str) -> None:
        self._trainer = trainer
        self._link, self._popen = self._begin()
        self._is_ready = self._is_asked = False
        self._last: Training | None = None

    def start(
        self, job: Path, environ: Mapping[str, str], output: Path, keep_open: int, is_cut_short: Callable[[], bool]
    ) -> Training:
        """Forks a training process for ``job``, with ``environ`` added to what the worker's environment may tell it;
        ``output`` receives what it prints, ``keep_open`` is a descriptor that it inherits.

        ``is_cut_short`` is asked again and again while the server is waited for. Raises NotReady then, and OSError. What an
        earlier process left behind, itself or an answer that nobody heard, goes with its server.
        """
        if self._popen.poll() is not None or self._is_asked or (self._last and self._last.wait(0) is None):
            self.close()
            self._link, self._popen = self._begin()
            self._is_ready, self._is_asked, self._last = False, False, None
        while not self._is_ready:
            told = _hear(self._link, TICK_S) or {}
            if "error" in told:
                raise ChildProcessError(told["error"])
            self._is_ready = "ready" in told
            if not self._is_ready and is_cut_short():
                raise NotReady(CUT_SHORT)
        request = json.dumps({"job": str(job), "environ": dict(environ)}).encode()
        with output.open("ab") as file:
            self._is_asked = True
            socket.send_fds(self._link, [request], [file.fileno(), keep_open])
        while (answer := _hear(self._link, TICK_S)) is None:
            if is_cut_short():
                raise NotReady(CUT_SHORT)
        self._is_asked = False
        if "pid" not in answer:  # it ended before it could say so
            raise ChildProcessError(f"no training process: {answer.get('error', answer)}")
        self._last = Training(self._link, answer["pid"])
        return self._last

    def close(self) -> None:
        """Ends it, and a training process with it."""
        self._link.close()
        self._popen.kill()
        self._popen.wait()

    def _begin(self) -> tuple[socket.socket, subprocess.Popen[bytes]]:
        parent = os.getpid()
        # Threads that spin while they wait are ruinous where cores are shared: 2.5 s a step instead of 0.2 s with three
        # busy neighbours on two cores.
        environ = {"OMP_WAIT_POLICY": "PASSIVE", **scrubbed(os.environ), "PYTHONUNBUFFERED": "1"}
        environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # so that asking for CUDA doesn't begin to use it, before a fork
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                return ours, subprocess.Popen(
                    [sys.executable, "-m", "worker.forkserver", str(theirs.fileno()), *self._trainer, ROOM],
                    env=environ,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    pass_fds=(theirs.fileno(),),
                    preexec_fn=lambda: tie_to_parent(parent),
                )
        except OSError:
            ours.close()
            raise


class Training:
    """A training process, in a session of its own."""

    def __init__(self, link: socket.socket, pid: int) -> None:
        self._link, self.pid = link, pid
        self._exit_code: int | None = None

    def wait(self, timeout_s: float | None) -> int | None:
        """Exit code, negative for the signal that ended it; None when it still runs after ``timeout_s``."""
        if self._exit_code is None and (told := _hear(self._link, timeout_s)):
            self._exit_code = told["exit"]
        return self._exit_code

    def terminate(self) -> None:
        if self.wait(0) is None:
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Ends it and everything it started, and waits until it is gone."""
        if self.wait(0) is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.wait(None)


def _hear(link: socket.socket, timeout_s: float | None = None) -> dict[str, Any] | None:
    """What the server says next; None when that was nothing within ``timeout_s``."""
    if not select.select([link], [], [], timeout_s)[0]:
        return None
    text = link.recv(MESSAGE_BYTES)
    # Whatever ended the server, the kernel kills its training process with it.
    return dict(json.loads(text)) if text else {"exit": -signal.SIGKILL, "error": "its fork server ended"}


# --- the server's side -------------------------------------------------------------------------------------------------


def main(descriptor: int, trainer: str, *arguments: str) -> int:
    """Returns in the training process, with its exit code, and in the server when nobody asks any more."""
    _show("worker.forkserver")
    for number in STOPS:  # those go to every process of a worker; here they are for the training process alone
        signal.signal(number, signal.SIG_IGN)
    link = socket.socket(fileno=descriptor)
    with contextlib.suppress(Exception):  # the training process will run into it too, and tell the run's log
        getattr(importlib.import_module(trainer), "load", lambda: None)()
    gc.freeze()  # what is loaded is never collected, so its pages stay shared
    _tell(link, ready=True)
    while True:
        text, descriptors, _, _ = socket.recv_fds(link, MESSAGE_BYTES, 2)
        if not text:
            return 0
        request = json.loads(text)
        _reap()
        pid = _fork(link)
        if pid == 0:
            _become(request, descriptors[0])  # the other one just stays open
            _tell(link, pid=os.getpid())
            link.close()
            return int(importlib.import_module(trainer).main(*arguments, request["job"]))
        for each in descriptors:
            os.close(each)
        if pid:
            _see_off(link, pid)


def _fork(link: socket.socket) -> int | None:
    """As ``os.fork``; None when there is no room for another process."""
    server = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # one that comes from here on is kept for the new process
    try:
        pid = os.fork()
    except OSError as error:
        _tell(link, error=str(error))
        pid = None
    if pid == 0:
        tie_to_parent(server)
        for number in STOPS:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    return pid


def _see_off(link: socket.socket, pid: int) -> None:
    # Not reaped before the next one: as long as somebody may signal it, nobody else can get its number.
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    _tell(link, exit=ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def _become(request: dict[str, Any], output: int) -> None:
    os.setsid()
    os.dup2(output, sys.stdout.fileno())
    os.dup2(output, sys.stderr.fileno())
    os.close(output)
    os.environ.update(request["environ"])
    _show(f"worker.trainer {request['job']}")


def _show(name: str) -> None:
    """Writes ``name`` over this process's command line, for `ps` and whoever looks for a run's process."""
    start, end = map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45:47])  # arg_start, arg_end
    room = end - start - 1
    ctypes.memmove(start, name.encode()[:room].ljust(room, b"\0"), room)


def _tell(link: socket.socket, **answer: Any) -> None:
    with contextlib.suppress(ConnectionError):  # nobody listens any more: the next request will be the end
        link.send(json.dumps(answer).encode())


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), *sys.argv[2:-1]))
