"""How a run asks to be carried out, as parameters of the request that queues it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query

from store.policy import Priority
from store.requests import MOST_GPUS, Request
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
    gpus: Annotated[
        int,
        Query(
            ge=1, le=MOST_GPUS, description="Devices of one worker that train it together; only training takes several."
        ),
    ] = 1,
    gpu_memory: Annotated[
        int | None,
        Query(
            ge=1,
            le=2**24,
            description="MiB of its device, GPU or CPU slot, of each of several; without it a guess.",
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
    ids = tuple(dict.fromkeys(filter(None, after.split(","))))
    return Request(priority, pool, time_limit_s, memory_bytes, gpus, ids)


Asked = Annotated[Request, Depends(_asked)]
