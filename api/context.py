"""What a route asks for: the database, the settings, who is speaking, the bell."""

from __future__ import annotations

from typing import Annotated, cast

import sqlalchemy as sa
from fastapi import Depends
from starlette.requests import Request

from api.doorbell import Doorbell
from store.access import Principal
from store.settings import Settings


async def _engine(request: Request) -> sa.Engine:
    return cast(sa.Engine, request.app.state.engine)


async def _settings(request: Request) -> Settings:
    return cast(Settings, request.app.state.settings)


async def _principal(request: Request) -> Principal:
    return cast(Principal, request.state.principal)  # set by api.gate, which lets nobody else through


async def _doorbell(request: Request) -> Doorbell:
    return cast(Doorbell, request.app.state.doorbell)


# They are coroutines because FastAPI runs every plain function in a thread, which costs more than they do.
Engine = Annotated[sa.Engine, Depends(_engine)]
Config = Annotated[Settings, Depends(_settings)]
Speaker = Annotated[Principal, Depends(_principal)]
Bell = Annotated[Doorbell, Depends(_doorbell)]
