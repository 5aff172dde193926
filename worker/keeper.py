"""Keeps the reconciler's process running beside the Celery worker."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from worker.process import tie_to_parent

RESTART_S = 1.0
STOP_S = 5.0

log = structlog.stdlib.get_logger("worker.keeper")


class Keeper:
    """A thread that starts the process again whenever it ends; the process ends with this one."""

    def __init__(self, argv: Sequence[str], identity: Mapping[str, Any]) -> None:
        """``identity`` reaches the process as its last argument, in JSON."""
        self._argv = [*argv, json.dumps(dict(identity))]
        self._stopping = threading.Event()
        self._popen: subprocess.Popen[bytes] | None = None
        # The kernel ends the child with the thread that forked it, so one thread starts them all and stays.
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the process and the thread."""
        self._stopping.set()
        if self._popen is not None:
            self._popen.terminate()
        self._thread.join(STOP_S)

    def _keep(self) -> None:
        parent = os.getpid()
        while not self._stopping.is_set():
            self._popen = subprocess.Popen(
                self._argv, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=lambda: tie_to_parent(parent)
            )
            code = self._popen.wait()
            if not self._stopping.wait(RESTART_S):
                log.warning("reconciler ended, starting it again", exit_code=code)
