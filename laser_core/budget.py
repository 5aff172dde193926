"""A budget of memory for one training process: over it, an error of ours instead of a machine in trouble.

On CUDA torch keeps the budget (its per-process memory fraction). On the CPU it is accounted: the storages that autograd
keeps for backward are counted as they come and go, beside what a model's states take.
"""

from __future__ import annotations

from collections import Counter
from types import TracebackType
from typing import Self

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from laser_core.estimate import FLOAT, STATES

CONTEXT = 2**29  # about what CUDA takes for a process, beside torch's allocator


class OutOfBudget(MemoryError):
    """The process would hold more than it was given."""


class Budget:
    """Around training: counts, and raises OutOfBudget in the forward pass that would hold more than ``limit`` bytes.

    On CUDA the allocator raises torch.OutOfMemoryError itself.
    """

    def __init__(self, limit: int, is_cuda: bool = False) -> None:
        self.limit, self.is_cuda = limit, is_cuda
        self._states = self._held = self._peak = 0
        self._users: Counter[int] = Counter()  # saved tensors by storage
        self._hooks = saved_tensors_hooks(self._pack, lambda saved: saved.tensor)
        if is_cuda:
            total = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, max(limit - CONTEXT, limit / 2) / total))

    def __enter__(self) -> Self:
        if not self.is_cuda:
            self._hooks.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self.is_cuda:
            self._hooks.__exit__(kind, error, at)

    def has_weights(self, count: int) -> None:
        """The model is there, with so many weights."""
        self._states = STATES * FLOAT * count
        self._check()

    def restart(self) -> None:
        """Forgets the peak so far."""
        self._peak = self._held
        if self.is_cuda:
            torch.cuda.reset_peak_memory_stats()

    @property
    def peak(self) -> int:
        """Most bytes held at once since the start, or ``restart``."""
        return CONTEXT + torch.cuda.max_memory_reserved() if self.is_cuda else self._states + self._peak

    def _pack(self, tensor: Tensor) -> _Saved:
        storage = tensor.untyped_storage()
        saved = _Saved(tensor, self, storage.data_ptr(), storage.nbytes())
        self._users[saved.address] += 1
        if self._users[saved.address] == 1:
            self._held += saved.size
            self._check()
        return saved

    def _check(self) -> None:
        self._peak = max(self._peak, self._held)
        if not self.is_cuda and self._states + self._held > self.limit:
            raise OutOfBudget(f"out of memory: more than the {self.limit / 2**20:.1f} MiB that the run was given")

    def let_go(self, saved: _Saved) -> None:
        """Backward, or the end of the graph, needs it no more."""
        self._users[saved.address] -= 1
        if not self._users[saved.address]:
            del self._users[saved.address]
            self._held -= saved.size


class _Saved:
    """A tensor in autograd's keeping; while it lives its storage can't become another's."""

    __slots__ = ("address", "budget", "size", "tensor")

    def __init__(self, tensor: Tensor, budget: Budget, address: int, size: int) -> None:
        self.tensor, self.budget, self.address, self.size = tensor, budget, address, size

    def __del__(self) -> None:
        self.budget.let_go(self)
