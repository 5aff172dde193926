"""What webhooks are to be told: noted with what happened, made deliveries here, sent by ``worker.webhooks``, at least once.

A sender claims a delivery for CLAIM_S before it sends; one that dies leaves it to be claimed again, under the same id.
"""

from __future__ import annotations

import datetime
import json
import math
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from store import audit
from store.database import read, write
from store.errors import Refused
from store.filter_fields import condition
from store.report import Report, report
from store.runs import Run, load
from store.states import FINAL
from store.tables import deliveries, experiment_runs, experiments, happenings, runs, users, webhooks

CLAIM_S = 60.0
MOST_ATTEMPTS = 8  # of one delivery: the last comes 15 hours after the first
MOST_FAILURES = 20  # attempts in a row, after which a webhook is disabled
KEPT = 100  # ended deliveries of one webhook
BATCH = 200
AT_ONCE, AT_ONCE_EACH = 20, 4  # claimed, and of one webhook: a slow receiver doesn't hold up the others


@dataclass(frozen=True)
class Due:
    """A claimed delivery; ``attempt`` counts from 1."""

    id: str
    webhook: str
    url: str
    secret: str
    body: str
    attempt: int


def put(connection: sa.Connection, webhook_id: str, event: str, data: dict[str, Any], now: float) -> str:
    """Adds a delivery to be sent at once; its id."""
    at = datetime.datetime.fromtimestamp(now, datetime.UTC).isoformat()
    values: dict[str, Any] = {"id": "msg_" + secrets.token_hex(12), "webhook": webhook_id, "event": event}
    body = json.dumps({"type": event, "timestamp": at, "data": data}, ensure_ascii=False, allow_nan=False)
    connection.execute(sa.insert(deliveries).values(**values, body=body, created_at=now, next_at=now))
    return str(values["id"])


def tell_of_runs(engine: sa.Engine, *, now: float | None = None) -> int:
    """Makes deliveries of what became of runs; how many."""
    now = time.time() if now is None else now
    oldest = sa.select(happenings.c.number).order_by(happenings.c.number).limit(BATCH)
    with read(engine) as connection:
        if connection.execute(oldest).first() is None:
            return 0
    with write(engine) as connection:
        taken = sa.delete(happenings).where(happenings.c.number.in_(oldest)).returning(happenings)
        found = sorted(connection.execute(taken).all(), key=lambda row: row.number)
        by_number = {run.number: run for run in load(connection, sorted({row.run for row in found}))}
        return sum(
            bool(put(connection, hook.id, row.event, _run_data(by_number[row.run], row), row.time))
            for row in found
            for hook in _listeners(connection, by_number[row.run].owner, row.event)
            if _fits(connection, hook, row.run, now)
        )


def tell_of_experiments(engine: sa.Engine, *, now: float | None = None) -> int:
    """Makes deliveries of experiments whose last run has ended since; how many."""
    now = time.time() if now is None else now
    at_work = sa.exists().where(
        experiment_runs.c.experiment == experiments.c.number,
        runs.c.number == experiment_runs.c.run,
        runs.c.state.not_in(FINAL),
    )
    over = sa.select(experiments.c.number, experiments.c.id, experiments.c.owner_id)
    over = over.where(experiments.c.decided_at.is_(None), ~at_work).order_by(experiments.c.number).limit(BATCH)
    with read(engine) as connection:
        found = connection.execute(over).all()
        heard = [bool(_listeners(connection, row.owner_id, "experiment.decided")) for row in found]
    made = 0
    for row, is_heard in zip(found, heard, strict=True):
        data = _experiment_data(report(engine, row.id)) if is_heard else {}
        with write(engine) as connection:
            first = (experiments.c.number == row.number, experiments.c.decided_at.is_(None))
            decided = sa.update(experiments).where(*first).values(decided_at=now).returning(experiments.c.id)
            if connection.execute(decided).one_or_none() is not None and is_heard:
                for hook in _listeners(connection, row.owner_id, "experiment.decided"):
                    made += bool(put(connection, hook.id, "experiment.decided", data, now))
    return made


def claim(engine: sa.Engine, *, now: float | None = None) -> list[Due]:
    """Deliveries whose time has come, for the caller to send within CLAIM_S and to ``settle``."""
    now = time.time() if now is None else now
    place = sa.func.row_number().over(partition_by=deliveries.c.webhook, order_by=deliveries.c.number)
    ripe = (
        sa.select(deliveries.c.number, place.label("place"))
        .join(webhooks, webhooks.c.id == deliveries.c.webhook)
        .join(users, users.c.id == webhooks.c.owner_id)
        .where(deliveries.c.next_at <= now, webhooks.c.disabled_at.is_(None), users.c.disabled_at.is_(None))
        .subquery()
    )
    chosen = sa.select(ripe.c.number).where(ripe.c.place <= AT_ONCE_EACH).order_by(ripe.c.number).limit(AT_ONCE)
    with read(engine) as connection:
        numbers = connection.execute(chosen).scalars().all()
    if not numbers:
        return []
    mine = sa.update(deliveries).where(deliveries.c.number.in_(numbers), deliveries.c.next_at <= now)
    mine = mine.values(next_at=now + CLAIM_S, attempts=deliveries.c.attempts + 1)
    with write(engine) as connection:
        rows = connection.execute(mine.returning(deliveries)).all()
        asked = sa.select(webhooks).where(webhooks.c.id.in_({row.webhook for row in rows}))
        hooks = {row.id: row for row in connection.execute(asked)}
    return [
        Due(row.id, row.webhook, hooks[row.webhook].url, hooks[row.webhook].secret, row.body, row.attempts)
        for row in sorted(rows, key=lambda row: row.number)
    ]


def settle(
    engine: sa.Engine,
    due: Due,
    answer: str,
    *,
    is_delivered: bool,
    is_gone: bool = False,
    retry_s: float = 10,
    now: float | None = None,
) -> None:
    """Notes how an attempt went. A failed one is made again after ``retry_s``, and after four times as long each time;
    ``is_gone``, and too many failures in a row, disable the webhook. Changes nothing once another sender has claimed it."""
    now = time.time() if now is None else now
    again = None if is_delivered or due.attempt >= MOST_ATTEMPTS else now + retry_s * 4 ** (due.attempt - 1)
    values = {"next_at": again, "answer": answer, "delivered_at": now if is_delivered else None}
    mine = (deliveries.c.id == due.id, deliveries.c.attempts == due.attempt, deliveries.c.next_at.is_not(None))
    with write(engine) as connection:
        if connection.execute(sa.update(deliveries).where(*mine).values(values)).rowcount == 0:
            return
        failures = 0 if is_delivered else webhooks.c.failures + 1
        counted = sa.update(webhooks).where(webhooks.c.id == due.webhook).values(failures=failures)
        count = connection.execute(counted.returning(webhooks.c.failures)).scalar_one()
        if is_gone:
            _disable(connection, due.webhook, "the receiver is gone (HTTP 410)", now)
        elif count >= MOST_FAILURES:
            _disable(connection, due.webhook, f"{count} attempts in a row failed; the last: {answer}", now)
        if again is None:
            _forget_old(connection, due.webhook)


def _forget_old(connection: sa.Connection, webhook_id: str) -> None:
    ended = (deliveries.c.webhook == webhook_id, deliveries.c.next_at.is_(None))
    newest = sa.select(deliveries.c.number).where(*ended).order_by(deliveries.c.number.desc())
    first_too_many = newest.limit(1).offset(KEPT).scalar_subquery()
    connection.execute(sa.delete(deliveries).where(*ended, deliveries.c.number <= first_too_many))


def _listeners(connection: sa.Connection, owner_id: str, event: str) -> Sequence[sa.Row[Any]]:
    query = sa.select(webhooks).where(webhooks.c.owner_id == owner_id, webhooks.c.disabled_at.is_(None))
    return [row for row in connection.execute(query) if event in row.events]


def _fits(connection: sa.Connection, hook: sa.Row[Any], number: int, now: float) -> bool:
    try:
        asked = condition(hook.filter, hook.owner_id, now)
    except Refused as refused:  # kept by another version
        _disable(connection, hook.id, f"its filter isn't understood: {refused}", now)
        return False
    query = sa.select(runs.c.number).where(runs.c.number == number)
    return asked is None or connection.execute(query.where(asked)).first() is not None


def _disable(connection: sa.Connection, webhook_id: str, why: str, now: float) -> None:
    connection.execute(sa.update(webhooks).where(webhooks.c.id == webhook_id).values(disabled_at=now, disabled_why=why))
    audit.record(connection, None, "webhook.disable", webhook_id, now, why)


def _run_data(run: Run, happened: sa.Row[Any]) -> dict[str, Any]:
    """As it was then; ``values`` are those of its result, null for what isn't finite."""
    same = ("id", "number", "name", "kind", "seed", "step", "steps")
    state = happened.event.removeprefix("run.")
    values = {name: _finite(value) for name, value in ((run.result or {}).get("values") or {}).items()}
    return {name: getattr(run, name) for name in same} | {
        "state": state,
        "reason": happened.reason,
        "tags": list(run.tags),
        "values": values,
    }


def _experiment_data(found: Report) -> dict[str, Any]:
    verdicts = [
        {"variant": one.variant, "baseline": one.baseline, "verdict": one.verdict, "sentence": one.sentence}
        for one in found.verdicts
    ]
    experiment = found.experiment
    same = {"id": experiment.id, "number": experiment.number, "name": experiment.name}
    return same | {"sentence": found.sentence, "verdicts": verdicts}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
