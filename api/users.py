"""Users, and what the audit log says of them: for admins."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api import user_models
from api.body import documented, parsed
from api.context import Engine, Speaker
from api.guards import require_admin
from api.problems import RESPONSES
from store import audit, users
from store.users import User


def _admins_only(speaker: Speaker) -> None:
    require_admin(speaker)


router = APIRouter(tags=["users"], responses=RESPONSES, dependencies=[Depends(_admins_only)])


@router.post("/users", status_code=201, summary="Add a user", openapi_extra=documented(user_models.NewUser))
def add(
    body: Annotated[user_models.NewUser, Depends(parsed(user_models.NewUser))],
    response: Response,
    engine: Engine,
    speaker: Speaker,
) -> User:
    """The user comes in by a link from ``POST /login-codes`` or a token from ``POST /tokens``; there are no passwords."""
    user = users.add(engine, body.name, body.role, by=speaker.user_id)
    response.headers["Location"] = f"/api/v1/users/{user.id}"
    return user


@router.get("/users", summary="All users")
def list_users(engine: Engine) -> user_models.UserList:
    """Oldest first."""
    return user_models.UserList(items=users.list_users(engine))


@router.get("/users/{user}", summary="One user, by id or name")
def read(user: str, engine: Engine) -> User:
    return users.get(engine, user)


@router.patch(
    "/users/{user}",
    summary="Change a user's role or shares, disable or enable",
    openapi_extra=documented(user_models.UserChange),
)
def change(
    user: str,
    body: Annotated[user_models.UserChange, Depends(parsed(user_models.UserChange))],
    engine: Engine,
    speaker: Speaker,
) -> User:
    """Takes effect at once. The last admin can be neither disabled nor given another role."""
    asked = (body.role, body.disabled, body.shares, body.most_running)
    return users.change(engine, user, *asked, by=speaker.user_id)


@router.get("/audit", summary="Who did what, newest first")
def read_audit(
    engine: Engine,
    before: Annotated[int | None, Query(ge=1, le=2**53, description="Only entries with a lower number.")] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="At most so many.")] = 50,
) -> user_models.AuditPage:
    found = audit.entries(engine, before, limit + 1)
    next_before = found[limit - 1].number if len(found) > limit else None
    return user_models.AuditPage(items=found[:limit], next_before=next_before)
