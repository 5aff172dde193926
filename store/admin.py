"""``python -m store.admin NAME`` prints a token of an admin, made if there is none of that name: the way in of whoever
can reach the database, before the API may listen beyond loopback."""

from __future__ import annotations

import sys

import sqlalchemy as sa

from store import access, database, users
from store.errors import Conflict, NotFound, Refused
from store.settings import Settings

TTL_DAYS = 90


def way_in(engine: sa.Engine, name: str) -> str:
    """The secret of a new token. Raises Refused for a bad name, Conflict for a user who is no admin or disabled."""
    database.migrate(engine)
    try:
        user = users.get(engine, name)
    except NotFound:
        user = users.add(engine, name, "admin")
    if user.role != "admin" or user.disabled_at is not None:
        raise Conflict(f"{name!r} is {'disabled' if user.disabled_at else 'a ' + user.role}; choose another name")
    return access.create_token(engine, user.id, ttl_s=TTL_DAYS * access.DAY_S, name="store.admin")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m store.admin NAME")
    try:
        sys.stdout.write(way_in(database.connect(Settings().database_url), sys.argv[1]) + "\n")
    except (Refused, Conflict) as error:
        sys.exit(str(error))
