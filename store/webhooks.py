"""Webhooks: addresses that users have told of what becomes of their runs and experiments. ``store.outbox`` has what is due."""

from __future__ import annotations

import base64
import re
import secrets
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import urlsplit

import sqlalchemy as sa

from laser_core.schema import Problem
from store import audit
from store.addresses import internal
from store.database import read, write
from store.errors import Conflict, NotFound, Refused
from store.filter_fields import condition
from store.outbox import put
from store.tables import deliveries, webhooks

MOST_WEBHOOKS = 10  # of one user
MOST_TESTS = 5  # of one webhook on their way
URL_LENGTH = 2000
EventKind = Literal["run.succeeded", "run.failed", "run.cancelled", "run.lost", "experiment.decided"]
EVENTS: tuple[EventKind, ...] = get_args(EventKind)
_NO_URL = re.compile(r"[\x00-\x20\x7f\\]")


@dataclass(frozen=True)
class Webhook:
    """``failures`` are attempts in a row; ``disabled_why`` says why nothing is sent any more."""

    id: str
    url: str
    events: tuple[EventKind, ...]
    filter: str
    created_at: float
    failures: int
    disabled_at: float | None
    disabled_why: str


@dataclass(frozen=True)
class Delivery:
    """``next_at`` is None once it is delivered or given up; ``answer`` is what the last attempt met."""

    id: str
    event: str
    created_at: float
    attempts: int
    next_at: float | None
    delivered_at: float | None
    answer: str


_COLUMNS = [webhooks.c[name] for name in Webhook.__dataclass_fields__]


def add(
    engine: sa.Engine,
    owner_id: str,
    url: str,
    events: Sequence[EventKind] = EVENTS,
    filter: str = "",
    *,
    allowed: str = "",
    now: float | None = None,
) -> tuple[Webhook, str]:
    """A new webhook of a user and the secret that it signs with, shown this once.

    ``allowed``: Settings.webhook_hosts. Raises Refused for a bad address or filter, Conflict for too many.
    """
    now = time.time() if now is None else now
    host = _host(url, allowed)
    condition(filter, owner_id, now)
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    values = {"id": "w_" + secrets.token_hex(8), "owner_id": owner_id, "url": url, "filter": filter, "created_at": now}
    values |= {"secret": secret, "events": [event for event in EVENTS if event in events]}
    with write(engine) as connection:
        row = connection.execute(sa.insert(webhooks).values(values).returning(*_COLUMNS)).one()
        mine = sa.select(sa.func.count()).select_from(webhooks).where(webhooks.c.owner_id == owner_id)
        if connection.execute(mine).scalar_one() > MOST_WEBHOOKS:
            raise Conflict(f"{MOST_WEBHOOKS} webhooks are kept; remove one first")
        audit.record(connection, owner_id, "webhook.create", row.id, now, f"to {host}")
        return _webhook(row), secret


def list_webhooks(engine: sa.Engine, owner_id: str) -> list[Webhook]:
    """The user's, oldest first."""
    query = sa.select(*_COLUMNS).where(webhooks.c.owner_id == owner_id).order_by(webhooks.c.created_at, webhooks.c.id)
    with read(engine) as connection:
        return [_webhook(row) for row in connection.execute(query)]


def enable(engine: sa.Engine, owner_id: str, webhook_id: str, *, now: float | None = None) -> Webhook:
    """Lets a disabled webhook go on, with what waits for it. Raises NotFound where the user has no such webhook."""
    now = time.time() if now is None else now
    with write(engine) as connection:
        _mine(connection, owner_id, webhook_id)
        fresh = {"disabled_at": None, "disabled_why": "", "failures": 0}
        enabled = sa.update(webhooks).where(webhooks.c.id == webhook_id).values(fresh)
        audit.record(connection, owner_id, "webhook.enable", webhook_id, now)
        return _webhook(connection.execute(enabled.returning(*_COLUMNS)).one())


def delete(engine: sa.Engine, owner_id: str, webhook_id: str, *, now: float | None = None) -> None:
    """With its deliveries, those on their way too. Raises NotFound where the user has no such webhook."""
    now = time.time() if now is None else now
    with write(engine) as connection:
        _mine(connection, owner_id, webhook_id)
        connection.execute(sa.delete(webhooks).where(webhooks.c.id == webhook_id))
        audit.record(connection, owner_id, "webhook.delete", webhook_id, now)


def send_test(engine: sa.Engine, owner_id: str, webhook_id: str, *, now: float | None = None) -> Delivery:
    """A delivery of the event "test", which waits for a worker to send it. Raises NotFound, Conflict."""
    now = time.time() if now is None else now
    with write(engine) as connection:
        if _mine(connection, owner_id, webhook_id).disabled_at is not None:
            raise Conflict(f"webhook {webhook_id} is disabled; enable it first (`laser webhook enable {webhook_id}`)")
        waiting = sa.select(sa.func.count()).where(
            deliveries.c.webhook == webhook_id, deliveries.c.event == "test", deliveries.c.next_at.is_not(None)
        )
        if connection.execute(waiting).scalar_one() >= MOST_TESTS:
            raise Conflict(f"{MOST_TESTS} tests of {webhook_id} are on their way; wait for them")
        made = put(connection, webhook_id, "test", {"webhook": webhook_id}, now)
        return _delivery(connection.execute(sa.select(deliveries).where(deliveries.c.id == made)).one())


def list_deliveries(engine: sa.Engine, owner_id: str, webhook_id: str, limit: int = 50) -> list[Delivery]:
    """Newest first. Raises NotFound where the user has no such webhook."""
    query = sa.select(deliveries).where(deliveries.c.webhook == webhook_id.replace("\0", ""))
    with read(engine) as connection:
        _mine(connection, owner_id, webhook_id)
        return [_delivery(row) for row in connection.execute(query.order_by(deliveries.c.number.desc()).limit(limit))]


def _host(url: str, allowed: str) -> str:
    """Of an address that could be sent to, as far as can be told without asking the network. Raises Refused."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if not host or parts.scheme not in ("http", "https") or len(url) > URL_LENGTH or _NO_URL.search(url):
        raise Refused(Problem("url", f"expected http:// or https:// and a host, at most {URL_LENGTH} characters"))
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise Refused(Problem("url", "expected neither user, password nor #fragment: a receiver checks the signature"))
    if (found := internal(host, _literal(host), allowed)) is not None:
        raise Refused(Problem("url", f"{found} is an internal address; an admin may allow it by LASER_WEBHOOK_HOSTS"))
    return host


def _literal(host: str) -> list[str]:
    """The address that a host is, in whatever form (2130706433, 0x7f.1); none for a name, which the worker looks up."""
    if f".{host.rstrip('.').lower()}".endswith(".localhost"):
        return ["127.0.0.1"]
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return []
    return [str(address[4][0]) for address in found]


def _mine(connection: sa.Connection, owner_id: str, webhook_id: str) -> sa.Row[tuple[object, ...]]:
    mine = (webhooks.c.id == webhook_id.replace("\0", ""), webhooks.c.owner_id == owner_id)
    row = connection.execute(sa.select(*_COLUMNS).where(*mine)).one_or_none()
    if row is None:
        raise NotFound(f"no webhook {webhook_id[:40]!r}")
    return row


def _webhook(row: sa.Row[tuple[object, ...]]) -> Webhook:
    values = dict(row._mapping)
    return Webhook(**values | {"events": tuple(values["events"])})


def _delivery(row: sa.Row[tuple[object, ...]]) -> Delivery:
    return Delivery(**{name: getattr(row, name) for name in Delivery.__dataclass_fields__})
