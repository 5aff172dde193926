"""``python -m api`` serves the app on LASER_HOST and LASER_PORT: one that may not listen there doesn't start."""

from __future__ import annotations

import sys

import uvicorn

from api.app import create_app
from store.settings import Settings

STREAMS_END_S = 2  # open event streams would hold the server for ever


def main() -> None:
    settings = Settings()
    try:
        app = create_app(settings)
    except (ValueError, RuntimeError) as error:
        sys.exit(f"api: {error}")
    uvicorn.run(
        app,
        host=settings.host.strip("[]"),
        port=settings.port,
        access_log=False,
        timeout_graceful_shutdown=STREAMS_END_S,
    )


if __name__ == "__main__":
    main()
