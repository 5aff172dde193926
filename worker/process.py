"""Training processes: tied to their parent, in an environment without secrets, one at a time per run directory."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

_PR_SET_PDEATHSIG = 1
# Looked up here: between fork and exec nothing may be imported.
_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None

# A training process gets what programs and numerical libraries need, and nothing else: no database, broker or token.
_ENVIRONMENT = {
    "HOME", "LANG", "LANGUAGE", "LASER_HOME", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "PYTHONHOME", "PYTHONPATH", "SHELL",
    "TEMP", "TERM", "TMP", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV", "XDG_CACHE_HOME",
}  # fmt: skip
_ENVIRONMENT_PREFIXES = (
    "LC_", "CUDA_", "CUBLAS_", "CUDNN_", "NVIDIA_", "HIP_", "ROCR_", "TORCH_", "TORCHINDUCTOR_", "PYTORCH_", "TRITON_",
    "OMP_", "MKL_", "OPENBLAS_", "KMP_", "GOMP_",
)  # fmt: skip


class DirectoryTaken(Exception):
    """Another training process still writes to the run's directory."""


def tie_to_parent(parent: int) -> None:
    """Lets the kernel kill this process when the thread that forked it ends; kills it now if that was before the call."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def scrubbed(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of ``environ`` that a training process gets."""
    return {
        name: value for name, value in environ.items() if name in _ENVIRONMENT or name.startswith(_ENVIRONMENT_PREFIXES)
    }


class DirectoryLock:
    """At most one training process writes to a run's directory.

    The training process inherits the locked file, so the lock lasts exactly as long as it does, whatever became of its
    supervisor: an attempt whose supervisor was stopped beyond its lease can't write beside the one that replaced it.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.fd = os.open(directory / ".trainer", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._mark = str(directory.name)  # the run's id, in the job's file name on the command line

    def take(self, patience_s: float, is_cut_short: Callable[[], bool]) -> None:
        """Kills a holder on this machine, waits for one elsewhere. Raises DirectoryTaken after ``patience_s``."""
        deadline = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                host, pid = self._holder()
            if host == socket.gethostname():
                self._kill(pid)
            if time.monotonic() > deadline or is_cut_short():
                raise DirectoryTaken(f"training process {pid} on {host} of an earlier attempt still holds the run")
            time.sleep(0.1)

    def name_holder(self, pid: int) -> None:
        """Writes down which process inherited the lock."""
        os.pwrite(self.fd, f"{socket.gethostname()} {pid}\n".encode().ljust(128), 0)

    def close(self) -> None:
        """Leaves the lock to the process that inherited it."""
        os.close(self.fd)

    def _holder(self) -> tuple[str, int]:
        words = os.pread(self.fd, 128, 0).decode(errors="replace").split()
        return (words[0], int(words[1])) if len(words) == 2 and words[1].isdigit() else ("an unknown host", 0)

    def _kill(self, pid: int) -> None:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
            if "worker.trainer" in command and self._mark in command:  # not another process that got its number
                os.kill(pid, signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            pass
