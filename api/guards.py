"""Whose things are whose: every parameter of an address that names one is resolved for the speaker before the route runs.

``check`` hangs on the router above all routes, and the app refuses to start with a parameter that has no guard: a route
can't forget to ask. Lists and streams have no such parameter; the store's own functions want to know whose runs they list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import anyio.to_thread
import sqlalchemy as sa
from starlette.requests import Request
from starlette.routing import BaseRoute

from api.context import Engine
from api.gate import SAFE_METHODS
from store import artifacts, datasets, experiments, runs, users
from store.access import Principal
from store.errors import Conflict, Forbidden

Guard = Callable[[sa.Engine, Principal, str, str], None]  # (…, method, value)


def _run(engine: sa.Engine, speaker: Principal, method: str, run_id: str) -> None:
    runs.require_run(engine, run_id, speaker.sees)


def _experiment(engine: sa.Engine, speaker: Principal, method: str, experiment_id: str) -> None:
    experiments.require_experiment(engine, experiment_id, speaker.sees)


def _artifact(engine: sa.Engine, speaker: Principal, method: str, artifact_id: str) -> None:
    artifacts.require_artifact(engine, artifact_id, speaker.sees)


def _dataset(engine: sa.Engine, speaker: Principal, method: str, name_or_id: str) -> None:
    """Everybody reads them."""
    if method in SAFE_METHODS or speaker.role == "admin":
        return
    dataset = datasets.get(engine, name_or_id)
    if dataset.owner != speaker.user_id:
        raise Forbidden(f"dataset {dataset.name!r} is somebody else's; only its owner or an admin may change it")


def _admins_only(engine: sa.Engine, speaker: Principal, method: str, value: str) -> None:
    require_admin(speaker)


def _own(engine: sa.Engine, speaker: Principal, method: str, value: str) -> None:
    """The store looks among the speaker's own (``access.revoke``, ``views.delete``, ``store.webhooks``)."""


GUARDS: dict[str, Guard] = {
    "run_id": _run,
    "experiment_id": _experiment,
    "artifact_id": _artifact,
    "name_or_id": _dataset,
    "user": _admins_only,
    "worker_id": _admins_only,
    "token_id": _own,
    "view_id": _own,
    "webhook_id": _own,
}


async def check(request: Request, engine: Engine) -> None:
    """A dependency of every route of the API. Raises NotFound, Forbidden."""
    for name, value in request.path_params.items():
        await anyio.to_thread.run_sync(GUARDS[name], engine, request.state.principal, request.method, value)


def require_admin(speaker: Principal) -> None:
    """Raises Forbidden."""
    if speaker.role != "admin":
        raise Forbidden(f"only admins may do this, and {speaker.name!r} is a {speaker.role}; ask one of them")


def whose(engine: sa.Engine, speaker: Principal, user: str | None) -> str:
    """Id of the user whom a request names: the speaker, or for admins anybody who may come in.

    Raises Forbidden, NotFound, and Conflict for a disabled user.
    """
    if user is None or user in (speaker.user_id, speaker.name):
        return speaker.user_id
    require_admin(speaker)
    found = users.get(engine, user)
    if found.disabled_at is not None:
        raise Conflict(f"{found.name!r} is disabled; enable the user first (`laser user enable`)")
    return found.id


def require_guards(routes: Iterable[BaseRoute]) -> None:
    """Raises LookupError for an address with a parameter that nobody guards."""
    for route in routes:
        unguarded = set(getattr(route, "param_convertors", ())) - GUARDS.keys()
        if unguarded:
            raise LookupError(f"{route}: api.guards.GUARDS doesn't say who may use {', '.join(sorted(unguarded))}")
