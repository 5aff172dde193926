"""Durations and what is said of them."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np


def p95_ms(seconds: Iterable[float]) -> float:
    return percentile_ms(seconds, 95)


def percentile_ms(seconds: Iterable[float], percent: float) -> float:
    return round(1000 * float(np.percentile(list(seconds), percent)), 1)


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def rounded(seconds: Iterable[float]) -> list[float]:
    """To 10 µs, for the raw file."""
    return [round(second, 5) for second in seconds]


def timed(action: Callable[[], Any]) -> float:
    """Seconds that it took."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def together(actions: list[Callable[[], Any]]) -> float:
    """Seconds until all of them, run at once in threads, are done; an error of one is raised."""
    with ThreadPoolExecutor(len(actions)) as pool:
        start = time.perf_counter()
        for done in [pool.submit(action) for action in actions]:
            done.result()
        return time.perf_counter() - start


def load() -> float:
    """Of the last minute: how many processes wanted a core."""
    return round(os.getloadavg()[0], 2)
