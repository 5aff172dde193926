"""The broker that carries rings: how to reach it, whatever its kind, and how to send one."""

from __future__ import annotations

from typing import Any

from amqp.exceptions import AMQPError
from celery import Celery
from kombu.exceptions import OperationalError

TASK = "worker.ring"  # worker.app, which sets up a whole worker when imported
AWAY = (OperationalError, OSError, AMQPError)  # what a broker that can't be reached, or refuses us, raises


def settings(url: str) -> dict[str, Any]:
    """What both sides tell Celery: JSON alone, no results, and the kind of queue."""
    common = {"task_ignore_result": True, "task_serializer": "json", "accept_content": ["json"]}
    # RabbitMQ keeps a quorum queue on several nodes; version 4 has no other kind that outlives one.
    return common | ({"task_default_queue_type": "quorum"} if _is_amqp(url) else {})


def producer(name: str, url: str, timeout_s: float) -> Celery:
    """Sends rings, and gives up soon on a broker that is away."""
    app = Celery(name, broker=url, set_as_current=False)
    options: dict[str, Any] = {"read_timeout": timeout_s, "write_timeout": timeout_s}
    if not _is_amqp(url):
        options = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
        options |= {"max_retries": 0, "retry_on_timeout": False}
    app.conf.update(
        settings(url),
        broker_connection_retry=False,
        broker_connection_timeout=timeout_s,
        broker_transport_options=options,
    )
    return app


def ring(app: Celery, expires_s: float | None = None) -> None:
    """Raises one of ``AWAY``."""
    app.send_task(TASK, ignore_result=True, retry=False, expires=expires_s)


def check(app: Celery) -> str:
    """ "ok", or what is wrong; takes twice the producer's timeout at most."""
    timeout_s = app.conf.broker_connection_timeout
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=2 * timeout_s)
            connection.default_channel.close()
    except AWAY as error:
        return f"unreachable: {type(error).__name__}"
    return "ok"


def _is_amqp(url: str) -> bool:
    return url.partition(":")[0].startswith("amqp")
