"""Experiments: all their runs in one request, and what they show."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from api.asked import Asked
from api.body import json_body
from api.checkouts import submitted
from api.context import Bell, Config, Engine, Speaker
from api.experiment_page import markdown
from api.problems import RESPONSES
from api.runs import IdempotencyKey
from api.schema import body_of, submission_of
from laser_core.config import parse_experiment
from store import estimates, experiments, report
from store.estimates import ExperimentEstimate
from store.experiments import Experiment, ExperimentPage
from store.report import Report

router = APIRouter(prefix="/experiments", tags=["experiments"], responses=RESPONSES)


@router.post(
    "",
    status_code=201,
    summary="Queue an experiment's runs, all or none",
    openapi_extra=submission_of("ExperimentConfig"),
    responses={200: {"model": Experiment, "description": "The experiment that this key made before"}},
)
def create(
    body: Annotated[Any, Depends(json_body)],
    response: Response,
    engine: Engine,
    speaker: Speaker,
    bell: Bell,
    asked: Asked,
    idempotency_key: IdempotencyKey = None,
) -> Experiment:
    """The body is the ExperimentConfig itself, or {config, checkout} with where it comes from. It is kept whole: its margin is
    never changed. Every run carries the id as a tag."""
    body, asked = submitted(body, asked)
    made, created = experiments.create(engine, parse_experiment(body), speaker.user_id, idempotency_key, request=asked)
    if created:
        bell.ring()
    else:
        response.status_code = 200
    response.headers["Location"] = f"/api/v1/experiments/{made.id}"
    return made


@router.post("/estimate", summary="What an experiment would take", openapi_extra=body_of("ExperimentConfig"))
def estimate(body: Annotated[Any, Depends(json_body)], engine: Engine) -> ExperimentEstimate:
    """Runs, activation bytes and time, from what finished runs took; nothing is queued."""
    return estimates.estimate(engine, parse_experiment(body))


@router.get("", summary="List experiments")
def list_experiments(
    engine: Engine,
    speaker: Speaker,
    limit: Annotated[int, Query(ge=1, le=200, description="At most so many.")] = 50,
    before: Annotated[int | None, Query(ge=1, le=2**53, description="`next_before` of the page before.")] = None,
) -> ExperimentPage:
    """Newest first. Members see their own."""
    return experiments.list_experiments(engine, speaker.sees, limit, before)


@router.get("/{experiment_id}", summary="An experiment and what it shows")
def read(experiment_id: str, engine: Engine) -> Report:
    """Means, verdicts and the front, from all its runs that have succeeded so far."""
    return report.report(engine, experiment_id)


@router.get("/{experiment_id}/report.md", summary="The same as a page of Markdown", response_class=Response)
def read_markdown(experiment_id: str, engine: Engine) -> Response:
    """An attachment."""
    headers = {"Content-Disposition": f'attachment; filename="{experiment_id}.md"'}
    text = markdown(report.report(engine, experiment_id))
    return Response(text, media_type="text/markdown; charset=utf-8", headers=headers)


@router.post("/{experiment_id}/cancel", status_code=202, summary="Cancel an experiment's runs")
def cancel(experiment_id: str, engine: Engine, speaker: Speaker) -> Experiment:
    """Those that haven't ended. Asking again changes nothing."""
    return experiments.cancel(engine, experiment_id, by=speaker.user_id)


@router.delete("/{experiment_id}", status_code=204, summary="Delete an experiment that has ended, with its runs")
def delete(experiment_id: str, engine: Engine, settings: Config, speaker: Speaker) -> None:
    """Their files go after their rows."""
    settings.blobs.remove_runs(experiments.delete(engine, experiment_id, policy=settings.policy, by=speaker.user_id))
