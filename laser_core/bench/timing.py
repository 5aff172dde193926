"""Clocks, and intervals of what they say."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch

Place = tuple[Any, str]  # an object, and the name of one of its functions


def now(device: torch.device) -> float:
    """Seconds: CPU time of the process, worker threads included; on a GPU wall time once its work is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def interval(values: list[float]) -> tuple[float, float]:
    """95 % interval of the median from order statistics (binomial); the whole range of fewer than six values holds less."""
    ordered, tail, cut = sorted(values), 0.0, 0
    for rank in range(len(ordered) // 2):
        tail += math.comb(len(ordered), rank) / 2 ** len(ordered)
        if tail > 0.025:
            break
        cut = rank
    return ordered[cut], ordered[-1 - cut]


@contextmanager
def wrapped(places: dict[Place, Callable[[Callable[..., Any]], Callable[..., Any]]]) -> Iterator[None]:
    """Puts a wrapper around functions. Raises AttributeError for one that isn't there."""
    with ExitStack() as stack:
        for (owner, name), wrapper in places.items():
            stack.enter_context(patch.object(owner, name, wrapper(getattr(owner, name))))
        yield


@contextmanager
def timed(places: dict[str, list[Place]], device: torch.device) -> Iterator[dict[str, float]]:
    """Seconds spent in functions, by name; those of one name mustn't call each other."""
    seconds: dict[str, float] = defaultdict(float)

    def timer(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def around(function: Callable[..., Any]) -> Callable[..., Any]:
            def measured(*arguments: Any, **options: Any) -> Any:
                began = now(device)
                try:
                    return function(*arguments, **options)
                finally:
                    seconds[name] += now(device) - began

            return measured

        return around

    with wrapped({place: timer(name) for name, of in places.items() for place in of}):
        yield seconds
