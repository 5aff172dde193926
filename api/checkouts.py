"""What runs were submitted from: taken with the request that queues them, and given back."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BeforeValidator, Field, TypeAdapter, WithJsonSchema

from api import models
from api.body import checked
from api.context import Engine
from api.problems import RESPONSES
from store import checkouts
from store.checkouts import DIFF_BYTES, MOST_NAMES, CheckoutDetails, Commit, Count, Name, Whole
from store.requests import Request

router = APIRouter(prefix="/runs", tags=["checkouts"], responses=RESPONSES)


def _decoded(text: Any) -> bytes:
    try:
        diff = base64.b64decode(text, validate=True)
    except (TypeError, ValueError) as error:
        raise ValueError("expected base64") from error
    if len(diff) > DIFF_BYTES:
        raise ValueError(f"expected at most {DIFF_BYTES} bytes, got {len(diff)}")
    return diff


class NewLeftOut(models.Body):
    path: Name
    why: Name


class NewCheckout(models.Body):
    """What the client's folder holds: a git commit and the changes since. ``diff`` is what `git apply` takes, in base64."""

    commit: Commit
    branch: Name
    remote: Name
    changed: Count
    untracked: Count
    left_out: Count
    untracked_names: list[Name] = Field(max_length=MOST_NAMES)
    left_out_files: list[NewLeftOut] = Field(max_length=MOST_NAMES)
    diff: Annotated[bytes, BeforeValidator(_decoded), WithJsonSchema({"type": "string", "format": "byte"})]


class Submission(models.Body):
    """A configuration with what it is submitted from."""

    config: Any
    checkout: NewCheckout


class WholeCheckout(models.Model):
    """What a run was submitted from. ``diff`` is for reading: what isn't UTF-8 is replaced (``checkout.diff`` has it)."""

    details: CheckoutDetails
    diff: str


_DETAILS = TypeAdapter(CheckoutDetails)


def submitted(body: Any, asked: Request) -> tuple[Any, Request]:
    """A configuration that came as {config, checkout}, and the request with that checkout; any other body as it is. Raises
    RequestValidationError."""
    if not isinstance(body, dict) or "config" not in body:  # no configuration has a field of this name
        return body, asked
    sent = checked(Submission, body).checkout
    given = sent.model_dump(exclude={"diff"})
    given |= {"size_bytes": len(sent.diff), "sha256": hashlib.sha256(sent.diff).hexdigest()}
    checkout = Whole(_DETAILS.validate_python(given), sent.diff)
    return body["config"], dataclasses.replace(asked, checkout=checkout)


@router.get("/{run_id}/checkout", summary="What a run was submitted from")
def read(run_id: str, engine: Engine) -> WholeCheckout:
    """Git's commit, and what had been changed since. 404 for a run that was made in a browser, or outside of git."""
    found = checkouts.of_run(engine, run_id)
    return WholeCheckout(details=found.details, diff=found.diff.decode("utf-8", "replace"))


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
