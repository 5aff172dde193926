"""Runs that wait for other runs: an eval or analysis for its training run's last checkpoint, any run for those it was told
to come after. As a run waits only for runs that were there before it, no circle can form.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import sqlalchemy as sa

from laser_core.schema import Problem
from store.errors import Refused
from store.states import FINAL, State
from store.tables import runs, waits
from store.text import clean

Needs = Literal["checkpoint", "success"]

_others = runs.alias("others")
_CHECKPOINT, _SUCCESS = waits.c.needs == "checkpoint", waits.c.needs == "success"
_ENDED, _SAVED = _others.c.state.in_(FINAL), _others.c.checkpoint.is_not(None)
# After the end the checkpoint stays the same.
_MET = sa.or_(sa.and_(_CHECKPOINT, _ENDED, _SAVED), sa.and_(_SUCCESS, _others.c.state == State.succeeded))
_LOST = sa.or_(
    sa.and_(_CHECKPOINT, _ENDED, sa.not_(_SAVED)), sa.and_(_SUCCESS, _ENDED, _others.c.state != State.succeeded)
)
_OF_THE_RUN = sa.and_(waits.c.run == runs.c.number, _others.c.number == waits.c.other)

WAITS = sa.exists().where(_OF_THE_RUN, sa.not_(_MET))  # conditions on ``runs``
IN_VAIN = sa.exists().where(_OF_THE_RUN, _LOST)


def find_after(connection: sa.Connection, ids: Collection[str], is_seen: sa.ColumnElement[bool]) -> dict[str, int]:
    """Numbers by id of runs to come after, among those that fulfil ``is_seen``; they can't be deleted until the transaction
    ends. Raises Refused for one that isn't there or can't succeed any more."""
    wanted = [clean(run_id, 40) for run_id in ids]
    query = sa.select(runs.c.id, runs.c.number, runs.c.state).where(runs.c.id.in_(wanted), is_seen)
    found = {row.id: row for row in connection.execute(query.with_for_update(read=True, key_share=True))}
    for run_id in wanted:
        if run_id not in found:
            raise Refused(Problem("after", f"no run {run_id!r}; give ids of runs that exist, with commas between"))
        if State(found[run_id].state) in FINAL - {State.succeeded}:
            raise Refused(
                Problem("after", f"run {run_id} is {found[run_id].state}, so it never succeeds; name another")
            )
    return {row.id: row.number for row in sorted(found.values(), key=lambda row: row.number)}


def add(connection: sa.Connection, number: int, source: int | None, after: Collection[int]) -> None:
    """Lets a new run wait for the training run whose checkpoint it reads, and for those to come after."""
    needs: dict[int, Needs] = {source: "checkpoint"} if source is not None else {}
    needs |= dict.fromkeys(after, "success")
    if needs:
        rows = [{"run": number, "other": other, "needs": what} for other, what in needs.items()]
        connection.execute(sa.insert(waits), rows)


def after_of(connection: sa.Connection, numbers: Collection[int]) -> dict[int, list[str]]:
    """Ids of the runs that each was told to come after."""
    query = sa.select(waits.c.run, _others.c.id).join(_others, _others.c.number == waits.c.other)
    return _grouped(connection, query.where(waits.c.run.in_(numbers), _SUCCESS))


def unmet(connection: sa.Connection) -> dict[int, list[str]]:
    """Ids of the runs that each queued run still waits for."""
    query = sa.select(waits.c.run, _others.c.id).join(_others, _others.c.number == waits.c.other)
    query = query.join(runs, runs.c.number == waits.c.run)
    return _grouped(connection, query.where(runs.c.state == State.queued, sa.not_(_MET)))


def why_in_vain(connection: sa.Connection, number: int) -> str:
    """What ended the hope of a run that is IN_VAIN, as a reason."""
    query = sa.select(waits.c.needs, _others.c.id, _others.c.state, _others.c.reason)
    query = query.join(_others, _others.c.number == waits.c.other).where(waits.c.run == number, _LOST)
    row = connection.execute(query.order_by(_others.c.number).limit(1)).one()
    if row.needs == "checkpoint":
        return "its training run ended without a checkpoint"
    reason = f": {row.reason}" if row.reason else ""
    return f"it was to come after run {row.id}, which is {row.state}{reason}"


def needed_by(connection: sa.Connection, number: int) -> str | None:
    """Id of a run that has yet to start and waits for this one."""
    query = sa.select(runs.c.id).join(waits, waits.c.run == runs.c.number)
    waiting = (waits.c.other == number, runs.c.state.in_((State.queued, State.paused)))
    found: str | None = connection.execute(query.where(*waiting).limit(1)).scalar()
    return found


def _grouped(connection: sa.Connection, query: sa.Select[Any]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for number, run_id in connection.execute(query.order_by(waits.c.run, waits.c.other)):
        found.setdefault(number, []).append(run_id)
    return found
