"""Server-sent events: everything that happens to one run, or to any.

The database holds the truth and is asked again and again, in a few threads of the streams' own, so that many open streams
neither exhaust the threads that answer requests nor lose an event: a run's event has a sequence number, and whoever
reconnects names the last one it saw. All that a look finds goes out in one piece.
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
from fastapi.sse import format_sse_event
from starlette.requests import Request
from starlette.responses import StreamingResponse

from api import models
from api.context import Engine, Speaker
from api.problems import RESPONSES, RequestProblem
from api.recent import OVERLAP_S, POLL_S, Recent, told
from laser_core.schema import Problem
from store import access, events, runs
from store.access import Principal
from store.errors import NotFound
from store.users import Owners

router = APIRouter(tags=["stream"], responses=RESPONSES)

THREADS = 4
BATCH = 500
COMMENT_S = 15.0


class Streams:
    """What all streams of one app share: their threads, what changed of late, and the word that the server ends."""

    def __init__(self) -> None:
        self.threads = anyio.CapacityLimiter(THREADS)
        self.closing = asyncio.Event()
        self.recent = Recent(self.ask)

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
) -> AsyncIterator[bytes]:
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


@router.get(
    "/stream",
    summary="What happens, as it happens",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "Server-sent events"}},
)
async def stream(source: Annotated[AsyncIterator[Any], Depends(_source)]) -> StreamingResponse:
    """With `run`: every event of the run (`event` is its kind, `id` its sequence number, `data` an Event), and `run` with a
    RunSummary whenever that changed. Without: `run` with the RunSummary of every run that changed; a run may be told twice.

    A comment comes every 15 s. Ends when the run is deleted, the token or session ends, or the server stops.
    """
    headers = {"X-Accel-Buffering": "no"}  # nginx would hold events back
    return StreamingResponse(_kept_alive(source), media_type="text/event-stream", headers=headers)


async def _kept_alive(source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What ``source`` has to say; a comment where that was nothing for COMMENT_S, so that no proxy takes it for dead."""
    spoke_at = time.monotonic()
    async for piece in source:
        if piece or time.monotonic() - spoke_at > COMMENT_S:
            spoke_at = time.monotonic()
            yield piece or b": nothing new\n\n"


async def _one_run(
    streams: Streams, engine: sa.Engine, speaker: Principal, run_id: str, after: int
) -> AsyncIterator[bytes]:
    shown = ""
    while True:
        try:
            run = await streams.ask(_look, engine, speaker, run_id)
            found = await streams.ask(events.after, engine, run_id, after, BATCH) if run.last_seq > after else []
        except NotFound:
            return  # deleted or out of sight meanwhile; who reconnects is told 404 or 401
        pieces = [_event(event) for event in found]
        after = found[-1].seq if found else after
        if (summary := models.RunSummary.model_validate(run).model_dump_json()) != shown:
            shown = summary
            pieces.append(format_sse_event(event="run", data_str=summary))
        yield b"".join(pieces)
        if len(found) < BATCH and not await streams.pause():
            return


async def _all_runs(streams: Streams, engine: sa.Engine, speaker: Principal, since: float) -> AsyncIterator[bytes]:
    """First what changed since the place that the reader names, then what all streams are told."""
    position = -1
    while True:
        try:
            owners = await streams.ask(_owners, engine, speaker)
        except NotFound:
            return
        changes = await streams.recent.after(engine, position)
        if changes is None:
            position = streams.recent.position
            while found := await streams.ask(runs.runs_changed, engine, since, owners, BATCH):
                since = found[-1].updated_at
                yield b"".join(told(run) for run in found)
        elif changes:
            position, since = changes[-1].position, time.time() - OVERLAP_S
            yield b"".join(change.text for change in changes if owners is None or change.owner in owners)
        else:
            yield b""
        if not await streams.pause():
            return


def _event(event: events.StoredEvent) -> bytes:
    data = models.Event.model_validate(event).model_dump_json()
    return format_sse_event(event=event.kind, id=str(event.seq), data_str=data)


def _look(engine: sa.Engine, speaker: Principal, run_id: str) -> runs.Run:
    """Raises NotFound also where the speaker may no longer see it."""
    runs.require_run(engine, run_id, _owners(engine, speaker))
    return runs.get_run(engine, run_id)


def _owners(engine: sa.Engine, speaker: Principal) -> Owners:
    """Whose runs the speaker sees by now: a stream outlives no revoked token, disabled user or lost role."""
    present = access.again(engine, speaker)
    if present is None:
        raise NotFound("the token or session of this stream has ended")
    return present.sees
