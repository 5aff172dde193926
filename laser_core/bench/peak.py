"""The most bytes alive at once while something runs, beyond those that were before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile


def peak_bytes(work: Callable[[], None], device: torch.device) -> int:
    """Peak of what ``work`` allocates: on a GPU as PyTorch's allocator counts it, on a CPU from the profiler's record of every
    allocation and release, scratch memory of operators included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=False) as profiler:
        work()
    results = profiler.profiler.kineto_results
    sizes = [(x.start_time_ns, x.extra_fields) for x in _events(results.experimental_event_tree()) if _is_memory(x)]
    return highest((fields.ptr, fields.alloc_size) for _, fields in sorted(sizes, key=lambda event: event[0]))


def highest(changes: Iterator[tuple[int, int]]) -> int:
    """The highest sum of live bytes, from addresses and sizes in order of time; a release has a negative size, and one of
    memory that was there before changes nothing."""
    live: dict[int, int] = {}
    total = most = 0
    for address, size in changes:
        total -= live.pop(address, 0)
        if size > 0:
            live[address] = size
            total += size
        most = max(most, total)
    return most


def _events(tree: list[Any]) -> Iterator[Any]:
    for event in tree:
        yield event
        yield from _events(event.children)


def _is_memory(event: Any) -> bool:
    is_one = event.tag == torch._C._profiler._EventType.Allocation
    return bool(is_one and event.extra_fields.device.type == "cpu")
