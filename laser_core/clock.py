"""How long a training step takes, where the device may still be at work when the host is done."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

_WARM_UP_STEPS = 5  # of each attempt, left out
KEPT = 2000


class StepClock:
    """Wall time of steps in seconds.

    Where the device runs ``behind`` the host, single times only tell when work was handed over: steps then count once the
    host has waited and calls ``settle``, each with the mean since the last time.
    """

    def __init__(self, *, behind: bool) -> None:
        self._behind = behind
        self._settled: deque[float] = deque(maxlen=KEPT)
        self._open: list[float] = []
        self._seen = 0

    @contextmanager
    def step(self) -> Iterator[None]:
        """Times one step."""
        began = time.perf_counter()
        yield
        self._seen += 1
        if self._seen > _WARM_UP_STEPS:
            self._open.append(time.perf_counter() - began)
        if not self._behind:
            self.settle()

    def settle(self) -> None:
        """Counts the steps so far."""
        if self._behind and self._open:
            self._open = [statistics.fmean(self._open)] * len(self._open)
        self._settled.extend(self._open)
        self._open = []

    def median(self, recent: int = KEPT) -> float | None:
        """Median of the recent steps; None before there are any."""
        times = list(self._settled)[-recent:] if recent else []
        return statistics.median(times) if times else None
