"""Server-sent events: everything that happens to one run, or to any.

The database holds the truth and is asked again and again, in a few threads of the streams' own, so that many open streams
neither exhaust the threads that answer requests nor lose an event: a run's event has a sequence number, and whoever
reconnects names the last one it saw.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import anyio
import anyio.to_thread
import sqlalchemy as sa
from fastapi import APIRouter, Depends, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.requests import Request

from api import models
from api.context import Engine, Speaker
from api.problems import RESPONSES, RequestProblem
from laser_core.schema import Problem
from store import access, events, runs
from store.access import Principal
from store.errors import NotFound
from store.users import Owners

router = APIRouter(tags=["stream"], responses=RESPONSES)

POLL_S = 0.4
THREADS = 4
BATCH = 500
OVERLAP_S = 2.0  # a change is stamped a moment before others can see it


class Streams:
    """What all streams of one app share: their threads, and the word that the server ends."""

    def __init__(self) -> None:
        self.threads = anyio.CapacityLimiter(THREADS)
        self.closing = asyncio.Event()

    async def ask(self, question: Callable[..., Any], *arguments: Any) -> Any:
        return await anyio.to_thread.run_sync(question, *arguments, limiter=self.threads)

    async def pause(self) -> bool:
        """Waits for the next look; False when the server ends."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.closing.wait(), POLL_S)
        return not self.closing.is_set()


def _source(
    request: Request,
    engine: Engine,
    speaker: Speaker,
    run: Annotated[str | None, Query(max_length=40, description="Id of the run to follow; all runs without.")] = None,
    after: Annotated[
        str, Query(max_length=40, description="Id of the last event seen, for who can't send the header.")
    ] = "",
    last_event_id: Annotated[str, Header(max_length=40, description="As `after`, and stronger.")] = "",
) -> AsyncIterator[ServerSentEvent]:
    """Refuses before the stream begins what can't be followed."""
    place, streams = last_event_id or after, request.app.state.streams
    try:
        if run is None:
            since = float(place) if place else time.time() - OVERLAP_S
            if not 0 <= since < 1e11:
                raise ValueError
            return _all_runs(streams, engine, speaker, since)
        runs.require_run(engine, run, speaker.sees)
        return _one_run(streams, engine, speaker, run, int(place or 0))
    except ValueError:
        raise RequestProblem(
            422,
            "The place to go on from can't be read.",
            Problem("after", f"expected an id of this stream, got {place!r}"),
        ) from None


@router.get("/stream", response_class=EventSourceResponse, summary="What happens, as it happens")
async def stream(source: Annotated[AsyncIterator[Any], Depends(_source)]) -> AsyncIterator[ServerSentEvent]:
    """With `run`: every event of the run (`event` is its kind, `id` its sequence number, `data` an Event), and `run` with a
    RunSummary whenever that changed. Without: `run` with the RunSummary of every run that changed; a run may be told twice.

    A comment comes every 15 s. Ends when the run is deleted, the token or session ends, or the server stops.
    """
    async for event in source:
        yield event


async def _one_run(
    streams: Streams, engine: sa.Engine, speaker: Principal, run_id: str, after: int
) -> AsyncIterator[ServerSentEvent]:
    shown = ""
    while True:
        try:
            run = await streams.ask(_look, engine, speaker, run_id)
            found = await streams.ask(events.after, engine, run_id, after, BATCH) if run.last_seq > after else []
        except NotFound:
            return  # deleted or out of sight meanwhile; who reconnects is told 404 or 401
        for event in found:
            after = event.seq
            data = models.Event.model_validate(event).model_dump_json()
            yield ServerSentEvent(event=event.kind, id=str(after), raw_data=data)
        if (summary := _summary(run)) != shown:
            shown = summary
            yield ServerSentEvent(event="run", raw_data=summary)
        if len(found) < BATCH and not await streams.pause():
            return


async def _all_runs(
    streams: Streams, engine: sa.Engine, speaker: Principal, since: float
) -> AsyncIterator[ServerSentEvent]:
    seen: dict[str, float] = {}
    while True:
        try:
            found = await streams.ask(_look_around, engine, speaker, since)
        except NotFound:
            return
        for run in found:
            if seen.get(run.id) != run.updated_at:
                yield ServerSentEvent(event="run", id=repr(run.updated_at), raw_data=_summary(run))
        seen = {run.id: run.updated_at for run in found}
        if len(found) == BATCH:
            since = found[-1].updated_at
            continue
        if found:
            since = max(since, min(found[-1].updated_at, time.time() - OVERLAP_S))
        if not await streams.pause():
            return


def _look(engine: sa.Engine, speaker: Principal, run_id: str) -> runs.Run:
    """Raises NotFound also where the speaker may no longer see it."""
    runs.require_run(engine, run_id, _owners(engine, speaker))
    return runs.get_run(engine, run_id)


def _look_around(engine: sa.Engine, speaker: Principal, since: float) -> list[runs.Run]:
    return runs.runs_changed(engine, since, _owners(engine, speaker), BATCH)


def _owners(engine: sa.Engine, speaker: Principal) -> Owners:
    """Whose runs the speaker sees by now: a stream outlives no revoked token, disabled user or lost role."""
    present = access.again(engine, speaker)
    if present is None:
        raise NotFound("the token or session of this stream has ended")
    return present.sees


def _summary(run: runs.Run) -> str:
    return models.RunSummary.model_validate(run).model_dump_json()
