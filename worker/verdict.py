"""What becomes of a run whose training process has ended."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Literal

from store.states import State
from worker.job import FAILED, LOST, NO_ROOM, SIGNALLED, STOPPED, TOO_BIG

Asked = Literal["", "cancel", "pause", "limit", "preempt", "drain", "shutdown"]


@dataclass(frozen=True)
class Finish:
    """The run is over."""

    state: State
    reason: str = ""


@dataclass(frozen=True)
class Release:
    """The run goes on later; nothing was wrong with it."""

    reason: str
    is_for_room: bool = False  # none was left on the disk


@dataclass(frozen=True)
class Lose:
    """The run is tried again, but not for ever."""

    reason: str


@dataclass(frozen=True)
class Grow:
    """The run is tried again, once, with more memory."""

    reason: str


Verdict = Finish | Release | Lose | Grow


def judge(exit_code: int, has_result: bool, asked: Asked, step: int, error: str) -> Verdict:
    """``exit_code`` is negative for a signal; ``asked`` is why it was told to stop; ``error`` its last words."""
    if exit_code > SIGNALLED:
        exit_code = SIGNALLED - exit_code
    if has_result:
        return Finish(State.succeeded)
    if asked == "cancel":
        return Finish(State.cancelled, f"cancelled at step {step}")
    if exit_code == NO_ROOM:
        return Release(f"{error or 'no space left on the disk'}, at step {step}", is_for_room=True)
    if exit_code == TOO_BIG:
        return Grow(f"{error or 'out of memory'}, at step {step}")
    if exit_code >= FAILED and exit_code not in (STOPPED, LOST):
        return Finish(State.failed, error or f"the training process ended with exit code {exit_code}")
    if asked == "limit":
        return Finish(State.failed, f"its time limit was reached at step {step}; its last checkpoint is kept")
    if asked == "pause":
        return Release(f"paused at step {step}")
    if asked == "preempt":
        return Release(f"made way for a run of a higher band at step {step}")
    if asked in ("drain", "shutdown"):
        why = "is drained" if asked == "drain" else "shuts down"
        return Release(f"the worker {why} at step {step}")
    if exit_code == STOPPED:
        return Release(f"the training process was told to stop at step {step}")
    if exit_code == LOST:
        return Lose(f"its processes lost contact with each other at step {step}")
    if exit_code < 0:
        return Lose(f"the training process was killed by {_signal(-exit_code)} at step {step}")
    return Finish(State.failed, "the training process ended without a result")


def _signal(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"{name} (out of memory?)" if name == "SIGKILL" else name
