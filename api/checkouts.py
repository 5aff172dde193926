"""What runs were submitted from: taken with the request that queues them, and given back."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

from fastapi import APIRouter, Response
from pydantic import TypeAdapter

from api import models
from api.body import checked
from api.context import Engine
from api.problems import RESPONSES
from store import checkouts
from store.checkouts import CheckoutDetails, Whole
from store.requests import Request

router = APIRouter(prefix="/runs", tags=["checkouts"], responses=RESPONSES)


_DETAILS = TypeAdapter(CheckoutDetails)


def submitted(body: Any, asked: Request) -> tuple[Any, Request]:
    """A configuration that came as {config, checkout}, and the request with that checkout; any other body as it is. Raises
    RequestValidationError."""
    if not isinstance(body, dict) or "config" not in body:  # no configuration has a field of this name
        return body, asked
    sent = checked(models.Submission, body).checkout
    given = sent.model_dump(exclude={"diff"})
    given |= {"size_bytes": len(sent.diff), "sha256": hashlib.sha256(sent.diff).hexdigest()}
    checkout = Whole(_DETAILS.validate_python(given), sent.diff)
    return body["config"], dataclasses.replace(asked, checkout=checkout)


@router.get("/{run_id}/checkout", summary="What a run was submitted from")
def read(run_id: str, engine: Engine) -> models.WholeCheckout:
    """Git's commit, and what had been changed since. 404 for a run that was made in a browser, or outside of git."""
    found = checkouts.of_run(engine, run_id)
    return models.WholeCheckout(details=found.details, diff=found.diff.decode("utf-8", "replace"))


@router.get(
    "/{run_id}/checkout.diff",
    summary="The changes, for `git apply`",
    response_class=Response,
    responses={
        200: {
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            "description": "The difference to the commit, byte for byte; empty where nothing was changed",
        }
    },
)
def read_diff(run_id: str, engine: Engine) -> Response:
    """An attachment."""
    found = checkouts.of_run(engine, run_id)
    headers = {"Content-Disposition": f'attachment; filename="{run_id}.diff"', "X-SHA256": found.details.sha256}
    return Response(found.diff, media_type="application/octet-stream", headers=headers)
