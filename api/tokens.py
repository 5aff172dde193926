"""Tokens for scripts: make, list, revoke. A secret is shown once, when it is made."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from api import user_models
from api.body import documented, parsed
from api.context import Engine, Speaker
from api.guards import whose
from api.problems import RESPONSES
from store import access

router = APIRouter(prefix="/tokens", tags=["session"], responses=RESPONSES)


@router.post("", status_code=201, summary="Make a token", openapi_extra=documented(user_models.NewToken))
def create(
    body: Annotated[user_models.NewToken, Depends(parsed(user_models.NewToken))], engine: Engine, speaker: Speaker
) -> user_models.CreatedToken:
    """For yourself; admins may name another user."""
    user_id, ttl_s = whose(engine, speaker, body.user), body.ttl_days * access.DAY_S
    token, secret = access.issue(engine, user_id, body.scope, ttl_s, name=body.name, by=speaker.user_id)
    return user_models.CreatedToken(token=token, secret=secret)


@router.get("", summary="Tokens and browser sessions")
def list_tokens(
    engine: Engine,
    speaker: Speaker,
    user: Annotated[str | None, Query(max_length=120, description="Name or id; only for admins.")] = None,
) -> user_models.TokenList:
    """Your own, newest first; without their secrets."""
    return user_models.TokenList(items=access.list_tokens(engine, whose(engine, speaker, user)))


@router.delete("/{token_id}", status_code=204, summary="Revoke a token or end a session")
def revoke(token_id: str, engine: Engine, speaker: Speaker) -> None:
    """It stops working at once. Admins may revoke anybody's."""
    of = None if speaker.role == "admin" else frozenset({speaker.user_id})
    access.revoke(engine, token_id, of=of, by=speaker.user_id)
