"""Sends what webhooks are due, beside the reconciler: signed as Standard Webhooks has it, to addresses that were checked.

Any number of workers may do so at once; each delivery is claimed in the database first (store.outbox).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import socket
import ssl
import threading
import time

import httpx
import sqlalchemy as sa
import structlog

from store import database, outbox
from store.addresses import internal
from store.errors import Outdated
from store.outbox import Due
from store.settings import Settings
from store.text import clean

ANSWER_S = 10.0  # to look up, connect, send and be answered, all together
GONE = 410

log = structlog.stdlib.get_logger("worker.webhooks")


class Forbidden(Exception):
    """The receiver's address is one that webhooks may not reach."""


class Checked(httpx.AsyncHTTPTransport):
    """Looks a name up once and connects to the very address that it has checked; certificates are held against the name."""

    def __init__(self, allowed: str) -> None:
        super().__init__(verify=ssl.create_default_context())
        self._allowed = allowed

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises Forbidden for an internal address, OSError for a name that isn't known."""
        host = request.url.host
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        addresses = [str(address[4][0]) for address in found]
        if internal(host, addresses, self._allowed) is not None:
            raise Forbidden
        request.extensions = {**request.extensions, "sni_hostname": host}
        request.url = request.url.copy_with(host=addresses[0])
        return await super().handle_async_request(request)


class Sender:
    """One round at a time, so that tests need no waiting."""

    def __init__(self, engine: sa.Engine, settings: Settings) -> None:
        self.engine, self.settings = engine, settings

    def round(self) -> int:
        """Sends a batch of what is due; 0 where there was nothing to do. Raises SQLAlchemyError and Outdated."""
        database.require_head(self.engine)
        outbox.tell_of_runs(self.engine)
        due = outbox.claim(self.engine)
        if due:
            asyncio.run(self._send(due))
        return len(due) + outbox.tell_of_experiments(self.engine)  # last: it has the most to compute

    def run(self, stopping: threading.Event) -> None:
        """Rounds until ``stopping``; the reconciler beside it says when the database is away."""
        while not stopping.is_set():
            done = 0
            try:
                done = self.round()
            except (sa.exc.SQLAlchemyError, Outdated):
                pass
            except Exception:
                log.exception("round failed")
            stopping.wait(0 if done else self.settings.reconcile_s)

    async def _send(self, due: list[Due]) -> None:
        async with httpx.AsyncClient(
            transport=Checked(self.settings.webhook_hosts), timeout=ANSWER_S, trust_env=False, follow_redirects=False
        ) as client:
            await asyncio.gather(*(self._send_one(client, one) for one in due))

    async def _send_one(self, client: httpx.AsyncClient, due: Due) -> None:
        status = 0
        try:
            async with asyncio.timeout(ANSWER_S):
                status = await _post(client, due)
            answer = f"HTTP {status}" + ("; redirects aren't followed" if 300 <= status < 400 else "")
        except Forbidden:
            answer = "not sent: the address is internal; an admin may allow it by LASER_WEBHOOK_HOSTS"
        except TimeoutError:
            answer = f"no answer within {ANSWER_S:g} s"
        except Exception as error:  # whatever a receiver comes up with: the others' are sent all the same
            answer = f"not reached: {clean(str(error), 300) or type(error).__name__}"
        is_delivered = 200 <= status < 300
        outbox.settle(
            self.engine,
            due,
            answer,
            is_delivered=is_delivered,
            is_gone=status == GONE,
            retry_s=self.settings.webhook_retry_s,
        )
        log.info("webhook", delivery=due.id, webhook=due.webhook, attempt=due.attempt, answer=answer)


async def _post(client: httpx.AsyncClient, due: Due) -> int:
    """The status of the answer, whose body nobody reads."""
    body = due.body.encode()
    headers = {"Content-Type": "application/json", "User-Agent": "laser-lab", **signed(due.secret, due.id, body)}
    async with client.stream("POST", due.url, content=body, headers=headers) as response:
        return response.status_code


def signed(secret: str, delivery: str, body: bytes, now: float | None = None) -> dict[str, str]:
    """The three headers of Standard Webhooks; ``secret`` begins with whsec_."""
    at = str(int(time.time() if now is None else now))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{delivery}.{at}.".encode() + body, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(digest).decode()
    return {"webhook-id": delivery, "webhook-timestamp": at, "webhook-signature": signature}
