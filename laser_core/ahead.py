"""Training batches drawn ahead on a thread of their own, without changing a number.

One worker draws one batch after another from one generator, so the order of draws, and with it every batch, is that of
drawing on demand. The position to resume from is that of the batch last handed out, however many are waiting behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

from laser_core.model import Batch

_DEPTH = 2  # batches that wait: enough to hide a slow one, few enough to hold no memory worth counting


class _Drawn(NamedTuple):
    batch: Batch
    position: Tensor  # the generator's state after this batch


class Ahead:
    """Hands out what ``draw`` makes from ``generator``. Whatever ``draw`` raises, ``next`` raises."""

    def __init__(self, draw: Callable[[torch.Generator], Batch], generator: torch.Generator) -> None:
        self._draw, self._generator = draw, generator
        self._position = generator.get_state()
        self._waiting: deque[Future[_Drawn]] = deque()
        self._worker = ThreadPoolExecutor(1, "batches")  # its thread ends when this object is gone

    def next(self) -> Batch:
        """The next batch."""
        while len(self._waiting) <= _DEPTH:
            self._waiting.append(self._worker.submit(_drawn, self._draw, self._generator))
        batch, self._position = self._waiting.popleft().result()
        return batch

    def get_state(self) -> Tensor:
        """The generator's state after the last batch handed out."""
        return self._position

    def set_state(self, state: Tensor) -> None:
        """Goes on from ``get_state``; batches drawn ahead are thrown away."""
        for future in self._waiting:
            future.cancel() or future.exception()  # one at work must end before its generator is set
        self._waiting.clear()
        self._generator.set_state(state)
        self._position = state


def _drawn(draw: Callable[[torch.Generator], Batch], generator: torch.Generator) -> _Drawn:
    return _Drawn(draw(generator), generator.get_state())
