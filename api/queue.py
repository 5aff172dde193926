"""The pool: what waits and why, and what everybody has used."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from fastapi import APIRouter, Query

from api import models
from api.context import Config, Engine, Speaker
from api.problems import RESPONSES
from store import queue
from store.access import Principal
from store.queue import Waiting

router = APIRouter(tags=["pool"], responses=RESPONSES)


@router.get("/queue", summary="What waits, in order, and why")
def read_queue(
    engine: Engine,
    settings: Config,
    speaker: Speaker,
    id: Annotated[str, Query(max_length=40, description="Only this run, with its place in the whole queue.")] = "",
    limit: Annotated[int, Query(ge=1, le=1000, description="At most so many.")] = 100,
) -> models.Queue:
    """Everybody sees the whole order; names of runs that the speaker may not see are left out."""
    found = queue.look(engine, settings)
    shown = [_seen(run, speaker) for run in found.waiting]
    picked = [run for run in shown if run.run_id == id] if id else shown[:limit]
    items = [models.WaitingRun.model_validate(dataclasses.asdict(run)) for run in picked]
    standings = list(found.standings)
    return models.Queue(items=items, total=len(shown), standings=standings, slots=found.slots, busy=found.busy)


def _seen(run: Waiting, speaker: Principal) -> Waiting:
    is_open = speaker.sees is None or run.owner in speaker.sees
    if is_open:
        return run
    reason = "waits for another run" if run.waits_for else run.reason
    return dataclasses.replace(run, run_id="", name="", reason=reason, waits_for=())
