"""``python -m api.openapi`` prints the API's OpenAPI document; the web UI's types are made from it."""

from __future__ import annotations

import json
import sys

import sqlalchemy as sa

from api.app import build
from store.settings import Settings


def document() -> str:
    """The document as JSON; needs no database."""
    app = build(Settings(broker_url=""), sa.create_engine("sqlite://"))
    return json.dumps(app.openapi(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
