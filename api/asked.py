"""How a run asks to be carried out, as parameters of the request that queues it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query

from store.policy import Priority
from store.requests import Request
from store.settings import MIB

MOST_AFTER = 32


async def _asked(
    priority: Annotated[
        Priority, Query(description="Runs of a higher band start before all of a lower one.")
    ] = "normal",
    pool: Annotated[
        str,
        Query(max_length=40, pattern="^[^ ]*$", description="Only a worker with this label takes it; empty for any."),
    ] = "",
    time_limit_s: Annotated[
        float | None,
        Query(
            gt=0,
            le=366 * 86_400,
            description="After so many seconds of being carried out, over all attempts, it ends as failed, with a checkpoint.",
        ),
    ] = None,
    gpu_memory: Annotated[
        int | None,
        Query(
            ge=1, le=2**24, description="MiB of its device, GPU or CPU slot; without it a guess from the configuration."
        ),
    ] = None,
    after: Annotated[
        str,
        Query(
            max_length=41 * MOST_AFTER,
            pattern=rf"^([^,\s]{{1,40}}(,[^,\s]{{1,40}}){{0,{MOST_AFTER - 1}}})?$",
            description="Ids of runs, with commas between: it waits until all have succeeded, and fails when one doesn't.",
        ),
    ] = "",
) -> Request:
    memory_bytes = None if gpu_memory is None else gpu_memory * MIB
    return Request(priority, pool, time_limit_s, memory_bytes, tuple(dict.fromkeys(filter(None, after.split(",")))))


Asked = Annotated[Request, Depends(_asked)]
