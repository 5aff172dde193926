"""What a filter box needs to help with the language of ``GET /runs?filter=``."""

from __future__ import annotations

from fastapi import APIRouter

from api.context import Engine, Speaker
from api.problems import RESPONSES
from store import filter_fields
from store.filter_fields import Known

router = APIRouter(prefix="/filters", tags=["runs"], responses=RESPONSES)


@router.get("/fields", summary="What a filter may ask")
def fields(engine: Engine, speaker: Speaker) -> Known:
    """Every field and the operators of its kind; tags and metrics of the newest thousand runs that the speaker sees."""
    return filter_fields.known(engine, speaker.sees)
