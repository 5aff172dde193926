"""The training processes of a run on several devices, started and watched by torch's own launcher.

One process down is the attempt down: the launcher ends the others, and the run goes on from its checkpoint as after any
crash. They talk to each other over loopback alone.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Collection
from pathlib import Path

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from worker.job import DONE, LOST, SIGNALLED, STOPPED

LOOPBACK = "127.0.0.1"
GRACE_S = 35  # for the step at hand and its checkpoint; the supervisor waits somewhat longer


def launch(job: Path, processes: int) -> int:
    """Carries out ``job`` with so many processes. Exit code: one of worker.job's; SIGTERM reaches them all."""
    interface = "lo" if sys.platform == "linux" else "lo0"
    os.environ.update(GLOO_SOCKET_IFNAME=interface, NCCL_SOCKET_IFNAME=interface)
    logging.getLogger("torch.distributed.elastic").setLevel(logging.ERROR)  # it tells of every signal it hands on
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),  # no folders of its own: what they print goes where it prints
        run_id=job.stem,
        rdzv_backend="c10d",
        rdzv_endpoint=f"{LOOPBACK}:0",
        local_addr=LOOPBACK,
        virtual_local_rank=True,  # each sees its own device alone
        max_restarts=0,
        signals_to_handle="SIGTERM",
        shutdown_timeout=GRACE_S,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "worker.trainer", str(job), str(os.getpid()))
    except SignalException:
        return STOPPED
    except ChildFailedError as error:
        return outcome([failure.exitcode for failure in error.failures.values()])
    return DONE


def outcome(codes: Collection[int]) -> int:
    """The exit code that says what went wrong first: whom a signal killed, else who failed of its own, else the others'."""
    killed = [SIGNALLED - code for code in codes if code < 0 and code != -signal.SIGTERM]
    failed = [code for code in codes if code > 0 and code not in (LOST, STOPPED)]
    return next(iter([*killed, *failed, *(code for code in codes if code > 0), STOPPED]))
