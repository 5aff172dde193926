"""How a run asks to be carried out, and from where. Its configuration, and so its hash, knows nothing of it."""

from __future__ import annotations

from dataclasses import dataclass

from store.checkouts import Whole
from store.policy import Priority

MOST_GPUS = 8


@dataclass(frozen=True)
class Request:
    """Raises nothing: whoever takes it from outside checks it (``api.asked``)."""

    priority: Priority = "normal"
    pool: str = ""  # a label that its worker must have; empty for any
    time_limit_s: float | None = None  # of being carried out, over all attempts
    memory_bytes: int | None = None  # on its device, on each of several; None lets it be guessed
    gpus: int = 1  # devices of one worker, each with a process of its own
    after: tuple[str, ...] = ()  # ids of runs that must have succeeded
    checkout: Whole | None = None  # what it is submitted from
