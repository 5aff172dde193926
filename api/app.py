"""The application: ``uvicorn api.app:create_app --factory``."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from types import FrameType
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, FastAPI

from api import (
    archives,
    artifacts,
    checkouts,
    datasets,
    experiments,
    exports,
    filters,
    guards,
    log,
    login,
    metrics,
    problems,
    prometheus,
    queue,
    runs,
    schema,
    session,
    stream,
    system,
    tokens,
    ui,
    users,
    webhooks,
)
from api.doorbell import Doorbell
from api.gate import Gate
from api.requests import Requests
from api.stream import Streams
from store import access, database
from store.settings import Settings
from store.users import others_exist

PREFIX = "/api/v1"
DESCRIPTION = "Trains, keeps and compares runs of tiny recursive models. Errors are RFC 9457 problem details."


def create_app(settings: Settings | None = None) -> FastAPI:
    """The app, with its database migrated and the local user's token in ``settings.token_file``.

    Raises ValueError for a host beyond loopback while nobody but the local user exists.
    """
    settings = settings or Settings()
    log.configure()
    engine = database.connect(settings.database_url)
    database.migrate(engine)
    access.ensure_token_file(engine, settings.token_file)
    if not settings.is_local and not others_exist(engine):
        engine.dispose()
        raise ValueError(
            f"LASER_HOST: expected 127.0.0.1, localhost or ::1 while there is no user but the local one, got "
            f"{settings.host!r}; start on loopback, run `laser user add NAME --role admin`, then start again "
            "(or use an SSH tunnel from elsewhere)"
        )
    return build(settings, engine)


def build(settings: Settings, engine: sa.Engine) -> FastAPI:
    """The app on a migrated database; it touches neither database nor broker before the first request."""
    app = FastAPI(
        title="LASER lab",
        version=system.VERSION,
        description=DESCRIPTION,
        docs_url=None,  # Swagger's page loads its scripts from a CDN
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.settings, app.state.engine = settings, engine
    app.state.doorbell, app.state.streams = Doorbell(settings.broker_url), Streams()
    app.state.meters = prometheus.Meters(engine, settings)
    api = APIRouter(prefix=PREFIX, dependencies=[Depends(guards.check)])
    for room in (
        runs,
        experiments,
        archives,
        exports,
        checkouts,
        filters,
        queue,
        metrics,
        artifacts,
        datasets,
        stream,
        schema,
        session,
        tokens,
        users,
        webhooks,
        system,
    ):
        guards.require_guards(room.router.routes)
        api.include_router(room.router)
    app.include_router(api)
    app.include_router(login.router)
    app.include_router(prometheus.router)
    app.include_router(ui.router)  # last: it takes every address that is left
    problems.install(app)
    schema.install(app)
    app.add_middleware(Gate, engine=engine, hosts=settings.host_names | {settings.host.lower().strip("[]")})
    app.add_middleware(Requests, meters=app.state.meters)
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    with _told_of_signals(app.state.streams):
        yield
    app.state.streams.closing.set()
    app.state.doorbell.close()
    app.state.engine.dispose()


@contextlib.contextmanager
def _told_of_signals(streams: Streams) -> Iterator[None]:
    """Ends the streams at the first signal to stop: the server waits for open responses before it ends the lifespan."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(streams.closing.set)
        if callable(before[number]):
            before[number](number, frame)

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
