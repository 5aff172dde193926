"""What a filter box needs to help with the language of ``GET /runs?filter=``, and the views that users keep."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from api import models
from api.body import documented, parsed
from api.context import Engine, Speaker
from api.problems import RESPONSES
from store import filter_fields, views
from store.filter_fields import Known
from store.views import View

router = APIRouter(tags=["runs"], responses=RESPONSES)


@router.get("/filters/fields", summary="What a filter may ask")
def fields(engine: Engine, speaker: Speaker) -> Known:
    """Every field and the operators of its kind; tags and metrics of the newest thousand runs that the speaker sees."""
    return filter_fields.known(engine, speaker.sees)


@router.get("/views", summary="Your views of the run list")
def list_views(engine: Engine, speaker: Speaker) -> models.ViewList:
    """By name."""
    return models.ViewList(items=views.list_views(engine, speaker.user_id))


@router.post("/views", status_code=201, summary="Keep a view", openapi_extra=documented(models.NewView))
def save_view(
    body: Annotated[models.NewView, Depends(parsed(models.NewView))], engine: Engine, speaker: Speaker
) -> View:
    """A filter with an order and columns under a name; the same name again overwrites."""
    return views.save(engine, speaker.user_id, body.name, body.filter, body.sort, body.columns)


@router.delete("/views/{view_id}", status_code=204, summary="Delete a view")
def delete_view(view_id: str, engine: Engine, speaker: Speaker) -> None:
    """One of yours."""
    views.delete(engine, speaker.user_id, view_id)
