"""Runs: create, list, read, cancel, pause, resume, clone, delete."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Response

from api import models
from api.asked import Asked
from api.body import documented, json_body, optional_json_body, parsed
from api.checkouts import submitted
from api.context import Bell, Config, Engine, Speaker
from api.problems import RESPONSES
from api.schema import PATCH, submission_of
from laser_core.config import StoreKind, merge_patch, parse_run
from store import events, notes, pause, run_list, runs, submit
from store.filters import MAX_LENGTH
from store.run_list import RunQuery
from store.states import State

router = APIRouter(prefix="/runs", tags=["runs"], responses=RESPONSES)

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        pattern="^[!-~ ]+$",
        description="The same key again, with the same configuration, gives the run that the first call made (status 200).",
    ),
]
After = Annotated[int, Query(ge=0, le=2**53, description="Only what has a higher sequence number.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="At most so many.")]


@router.post(
    "",
    status_code=201,
    summary="Queue a run",
    openapi_extra=submission_of("RunConfig"),
    responses={200: {"model": models.Run, "description": "The run that was made before"}},
)
def create(
    body: Annotated[Any, Depends(json_body)],
    response: Response,
    engine: Engine,
    speaker: Speaker,
    bell: Bell,
    asked: Asked,
    idempotency_key: IdempotencyKey = None,
) -> models.Run:
    """The body is the RunConfig itself, or {config, checkout} with what it is submitted from; it is stored whole. An inspection
    that was made before, of equal weights and with the same puzzle and settings, is given again (status 200); new ones go to
    the high band."""
    body, asked = submitted(body, asked)
    config = parse_run(body)
    made = submit.create_run(engine, config, speaker.user_id, idempotency_key, request=asked)
    return _queued(made, response, bell)


@router.get("", summary="List runs")
def list_runs(
    engine: Engine,
    speaker: Speaker,
    state: Annotated[list[State], Query(description="Any of these.")] = [],  # noqa: B006 (FastAPI copies it)
    kind: Annotated[
        Literal["train", "eval", "analysis", "inspect"] | None,
        Query(description="Without, all but inspect, unless ids are given."),
    ] = None,
    store: Annotated[StoreKind | None, Query(description="Training runs with this activation store.")] = None,
    tag: Annotated[list[str], Query(description="All of these.", max_length=16)] = [],  # noqa: B006
    text: Annotated[str, Query(max_length=200, description="In the name, the id or a tag.")] = "",
    id: Annotated[list[str], Query(description="Any of these.", max_length=200)] = [],  # noqa: B006
    filter: Annotated[
        str,
        Query(max_length=MAX_LENGTH, description="Such as `state:running metric.exact_accuracy>0.9`: docs/filter.md."),
    ] = "",
    sort: Annotated[
        str,
        Query(max_length=140, description="created, updated, name, state, metric.KEY, config.FIELD …; minus reverses."),
    ] = "-created",
    config: Annotated[
        list[str],
        Query(max_length=40, description="Fields of the configuration to tell of each, such as `training.steps`."),
    ] = [],  # noqa: B006
    cursor: Annotated[str | None, Query(max_length=2000, description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="At most so many.")] = 50,
) -> models.RunPage:
    """A page of the runs that fit, and how many there are in all. Members see their own runs."""
    query = RunQuery(
        tuple(state), kind, store, tuple(tag), text, tuple(id), filter, speaker.user_id, sort, cursor, limit
    )
    found = run_list.list_runs(engine, query, speaker.sees)
    page = models.RunPage.model_validate(found)
    for item, run in zip(page.items, found.items, strict=True):
        item.fields = {name: value for name in config if (value := _part(run.config, name)) is not None}
    return page


@router.get("/{run_id}", summary="One run")
def read(run_id: str, engine: Engine) -> models.Run:
    return models.Run.model_validate(runs.get_run(engine, run_id))


@router.patch("/{run_id}", summary="Change a run's tags and note", openapi_extra=documented(models.RunChange))
def change(
    run_id: str,
    body: Annotated[models.RunChange, Depends(parsed(models.RunChange, multiline="note"))],
    engine: Engine,
) -> models.Run:
    """In any state; what the run trains can't be changed."""
    return models.Run.model_validate(notes.change(engine, run_id, body.add_tags, body.remove_tags, body.note))


@router.post("/{run_id}/cancel", status_code=202, summary="Cancel a run")
def cancel(run_id: str, engine: Engine, speaker: Speaker) -> models.Run:
    """A waiting run is cancelled at once, a running one at its worker's next heartbeat. Asking again changes nothing."""
    return models.Run.model_validate(runs.request_cancel(engine, run_id, by=speaker.user_id))


@router.post("/{run_id}/pause", status_code=202, summary="Pause a run")
def request_pause(run_id: str, engine: Engine, speaker: Speaker) -> models.Run:
    """A waiting run is paused at once, a running one with a checkpoint at its worker's next heartbeat. Asking again changes
    nothing."""
    return models.Run.model_validate(pause.request_pause(engine, run_id, by=speaker.user_id))


@router.post("/{run_id}/resume", status_code=202, summary="Let a paused run go on")
def resume(run_id: str, engine: Engine, speaker: Speaker, bell: Bell) -> models.Run:
    """It waits for its turn and goes on from its checkpoint. Asking again changes nothing."""
    run, is_queued = pause.resume(engine, run_id, by=speaker.user_id)
    if is_queued:
        bell.ring()
    return models.Run.model_validate(run)


@router.post(
    "/{run_id}/clone",
    status_code=201,
    summary="Queue the same configuration again, with changes",
    openapi_extra=PATCH,
    responses={200: {"model": models.Run, "description": "The run that was made before"}},
)
def clone(
    run_id: str,
    patch: Annotated[Any, Depends(optional_json_body)],
    response: Response,
    engine: Engine,
    speaker: Speaker,
    bell: Bell,
    asked: Asked,
    idempotency_key: IdempotencyKey = None,
) -> models.Run:
    """The body is a JSON merge patch of the configuration; without one the copy is exact."""
    patch, asked = submitted(patch, asked)
    config = parse_run(merge_patch(runs.get_run(engine, run_id).config, patch))
    made = submit.create_run(engine, config, speaker.user_id, idempotency_key, request=asked)
    return _queued(made, response, bell)


@router.delete("/{run_id}", status_code=204, summary="Delete a run that has ended")
def delete(run_id: str, engine: Engine, settings: Config, speaker: Speaker) -> None:
    """Its rows go in one transaction, its files after it."""
    settings.blobs.remove_runs(runs.delete_run(engine, run_id, policy=settings.policy, by=speaker.user_id))


@router.get("/{run_id}/events", summary="What happened to a run")
def read_events(run_id: str, engine: Engine, after: After = 0, limit: Limit = 500) -> models.EventPage:
    """Oldest first; ask again with the last ``seq`` as ``after`` for more, or follow ``/stream``."""
    found = events.after(engine, run_id, after, limit)
    return models.EventPage(items=[models.Event.model_validate(event) for event in found])


@router.get("/{run_id}/environments", summary="What every attempt at a run ran with")
def read_environments(run_id: str, engine: Engine) -> models.EnvironmentList:
    """First attempt first: versions, hardware, settings that decide numbers, and laser_core's code by its content."""
    found = events.after(engine, run_id, limit=100, kind="started")
    return models.EnvironmentList(items=[models.Environment(epoch=e.epoch, time=e.time, **e.data) for e in found])


@router.get("/{run_id}/logs", summary="What a run said")
def read_logs(
    run_id: str,
    engine: Engine,
    after: After = 0,
    limit: Annotated[int, Query(ge=1, le=5000, description="At most so many.")] = 500,
    tail: Annotated[bool, Query(description="The newest `limit` lines; `after` is ignored.")] = False,
) -> models.LogPage:
    """Oldest first."""
    newest = events.newest(engine, run_id, "log", limit) if tail else None
    found = events.after(engine, run_id, after, limit, kind="log") if newest is None else newest
    lines = [models.LogLine(seq=e.seq, time=e.time, epoch=e.epoch, **e.data) for e in found]
    return models.LogPage(items=lines)


def _part(config: Any, name: str) -> str | float | bool | None:
    """A single value of a configuration by its dotted name; None where it has none."""
    for part in name.split("."):
        config = config.get(part) if isinstance(config, dict) else None
    return config if isinstance(config, str | int | float | bool) else None


def _queued(made: tuple[runs.Run, bool], response: Response, bell: Bell) -> models.Run:
    run, created = made
    if created:
        bell.ring()
    else:
        response.status_code = 200
    response.headers["Location"] = f"/api/v1/runs/{run.id}"
    return models.Run.model_validate(run)
