"""Puzzle files: upload, list, look at, delete."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from api import models
from api.context import Config, Engine, Speaker
from api.problems import RESPONSES
from api.upload import Upload, receive_upload
from store import datasets
from store.datasets import Dataset

router = APIRouter(prefix="/datasets", tags=["datasets"], responses=RESPONSES)

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}, "name": {"type": "string"}},
                }
            },
            "text/csv": {"schema": {"type": "string"}},
        },
    }
}


@router.post(
    "",
    status_code=201,
    summary="Upload a puzzle file",
    openapi_extra=_BODY,
    responses={200: {"model": Dataset, "description": "The dataset of this content, which is there already"}},
)
def add(
    upload: Annotated[Upload, Depends(receive_upload)],
    response: Response,
    engine: Engine,
    settings: Config,
    speaker: Speaker,
    name: Annotated[str, Query(max_length=120, description="Without, the file's own name.")] = "",
) -> Dataset:
    """CSV with the columns source, q, a, rating, checked row by row; the first error is told with its line and column.

    Send it as the form field ``file``, or as a body of type text/csv with ``?name=``.
    """
    dataset, created = datasets.add(engine, settings, name or upload.name, upload.file, speaker.user_id)
    if not created:
        response.status_code = 200
    response.headers["Location"] = f"/api/v1/datasets/{dataset.id}"
    return dataset


@router.get("", summary="All datasets")
def list_datasets(engine: Engine) -> models.DatasetList:
    return models.DatasetList(items=datasets.list_datasets(engine))


@router.get("/{name_or_id}", summary="One dataset, by id or name")
def read(name_or_id: str, engine: Engine) -> Dataset:
    return datasets.get(engine, name_or_id)


@router.get("/{name_or_id}/preview", summary="Its first rows")
def preview(
    name_or_id: str,
    engine: Engine,
    settings: Config,
    rows: Annotated[int, Query(ge=1, le=100, description="How many.")] = 10,
) -> models.DatasetPreview:
    found = datasets.preview(engine, settings, name_or_id, rows)
    return models.DatasetPreview(items=[models.DatasetRow.model_validate(row) for row in found])


@router.delete("/{name_or_id}", status_code=204, summary="Delete a dataset that no run names")
def delete(name_or_id: str, engine: Engine, settings: Config) -> None:
    datasets.delete(engine, settings, name_or_id)
