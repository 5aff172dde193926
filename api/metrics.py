"""What a run measured: curves, subspace traces, memory."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from api import models
from api.body import parsed_numbers
from api.context import Engine, Speaker
from api.problems import RESPONSES
from api.schema import body_of
from store import compare, events, ingest, metrics, traces
from store.traces import SiteSpectrum

router = APIRouter(tags=["measurements"], responses=RESPONSES)

Keys = Annotated[str, Query(max_length=4000, description="Names with commas between; empty for all.")]
AfterStep = Annotated[int | None, Query(ge=-1, le=2**53, description="Only what was measured after this step.")]


@router.get("/runs/{run_id}/metrics", summary="Curves, thinned by the server")
def read_metrics(
    run_id: str,
    engine: Engine,
    keys: Keys = "",
    points: Annotated[int, Query(ge=4, le=100_000, description="At most so many per curve; extremes are kept.")] = 1000,
    after_step: AfterStep = None,
) -> models.SeriesList:
    found = metrics.read(engine, run_id, names(keys), points, after_step)
    return models.SeriesList(series=[models.Series.model_validate(series) for series in found])


@router.post("/runs/{run_id}/metrics", summary="Store points", openapi_extra=body_of("NewPoints"))
def add_metrics(
    run_id: str, body: Annotated[models.NewPoints, Depends(parsed_numbers(models.NewPoints))], engine: Engine
) -> models.Added:
    """For a worker that has no way to the database. Only under the run's present epoch: 409 once it is in other hands or has
    ended. A step at or below a metric's newest is taken as sent again and left out, so a batch whose answer was lost can be
    repeated."""
    points = {series.key: (series.steps, series.values) for series in body.series}
    return models.Added(added=ingest.add_points(engine, run_id, body.epoch, points))


@router.get("/runs/{run_id}/traces", summary="How the tracked bases developed")
def read_traces(
    run_id: str,
    engine: Engine,
    site: Annotated[str | None, Query(max_length=120, description="One site; all without.")] = None,
    after_step: AfterStep = None,
) -> models.TraceList:
    found = traces.read(engine, run_id, site, after_step)
    return models.TraceList(sites=[models.SiteTrace.model_validate(trace) for trace in found])


@router.get("/runs/{run_id}/spectrum", summary="What one update of a basis saw")
def read_spectrum(
    run_id: str,
    engine: Engine,
    site: Annotated[str, Query(max_length=120, description="Which site.")],
    step: Annotated[
        int | None, Query(ge=0, le=2**53, description="The update in force then; the newest without.")
    ] = None,
) -> SiteSpectrum:
    """Energies along the basis's directions, and the fidelity at each recursion step."""
    return traces.spectrum_at(engine, run_id, site, step)


@router.get("/runs/{run_id}/memory", summary="The newest measurement of saved bytes")
def read_memory(run_id: str, engine: Engine) -> models.Memory:
    found = events.newest(engine, run_id, "memory")
    return models.Memory.model_validate(found[-1].data) if found else models.Memory()


@router.get("/compare", summary="Groups of runs side by side, paired by seed")
def compare_runs(
    engine: Engine,
    speaker: Speaker,
    run: Annotated[list[str], Query(min_length=1, max_length=200, description="Ids of the runs.")],
) -> compare.Comparison:
    return compare.compare(engine, list(dict.fromkeys(run)), speaker.sees)


def names(keys: str) -> list[str] | None:
    """Those of a ``Keys`` parameter; None for all."""
    return [name for name in keys.split(",") if name] or None
