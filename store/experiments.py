"""Experiments: create all runs of one in one transaction, read, list, cancel, delete. What they show is in ``store.report``."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import secrets
import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from laser_core.config import ExperimentConfig, parse_experiment, plan
from laser_core.schema import to_json
from store import audit
from store.database import read, write
from store.dialect import insert
from store.errors import Conflict, NotFound
from store.policy import Policy
from store.requests import Request
from store.runs import Run, delete_run, load, request_cancel
from store.states import FINAL, State
from store.submit import queue_run
from store.tables import experiment_runs, experiments, runs, users
from store.text import clean
from store.users import Owners


@dataclass(frozen=True)
class Experiment:
    """An experiment as it stands. ``states`` counts its runs, by state; ``config`` is what it was made from, whole."""

    id: str
    number: int
    name: str
    owner: str
    owner_name: str
    metric: str
    margin: float  # percentage points
    baseline: str
    created_at: float
    planned: int  # runs that were made
    runs: int  # that are still there
    states: dict[str, int]
    config: dict[str, Any]

    @property
    def is_over(self) -> bool:
        """Whether every run has ended."""
        return all(State(state) in FINAL for state in self.states)


@dataclass(frozen=True)
class Member:
    """A run and its place: ``group`` names variant and point as people read them."""

    variant: str
    point: str
    run: Run

    @property
    def group(self) -> str:
        """The variant, and where there is a sweep, its point."""
        return f"{self.variant} · {self.point}" if self.point else self.variant


@dataclass(frozen=True)
class ExperimentPage:
    """Newest first; ``next_before`` is ``before`` of the next page, None on the last."""

    items: list[Experiment]
    next_before: int | None


def create(
    engine: sa.Engine,
    config: ExperimentConfig,
    owner_id: str,
    idempotency_key: str | None = None,
    *,
    request: Request = Request(),  # noqa: B008 (frozen)
    now: float | None = None,
) -> tuple[Experiment, bool]:
    """Queues every run of the experiment, or none: (the experiment, whether it was created).

    Each run carries the experiment's id as a tag. The same owner's same key and configuration give the first call's, created
    False. Raises Conflict for the same key with another configuration, ConfigError and Refused as a single run would.
    """
    now = time.time() if now is None else now
    planned = plan(config)
    with write(engine) as connection:
        if earlier := _earlier(connection, config, owner_id, idempotency_key):
            return earlier, False
        made = "x_" + base64.b32encode(secrets.token_bytes(8)).decode().lower()[:12]
        values = {"id": made, "owner_id": owner_id, "idempotency_key": idempotency_key, "created_at": now}
        values |= {"name": clean(config.name, 120), "config": to_json(config), "planned": len(planned)}
        once = insert(connection, experiments).values(values)
        once = once.on_conflict_do_nothing(index_elements=["owner_id", "idempotency_key"])
        number = connection.execute(once.returning(experiments.c.number)).scalar()
        if number is None and (earlier := _earlier(connection, config, owner_id, idempotency_key)):
            return earlier, False
        assert number is not None
        members = []
        for each in planned:
            tagged = dataclasses.replace(each.config, tags=(*each.config.tags, made))
            run, _ = queue_run(connection, tagged, owner_id, request=request, now=now)
            members.append({"run": run.number, "experiment": number, "variant": each.variant, "point": each.point})
        connection.execute(sa.insert(experiment_runs), members)
        return _load(connection, [number])[0], True


def get(engine: sa.Engine, experiment_id: str) -> Experiment:
    """Raises NotFound."""
    with read(engine) as connection:
        return _load(connection, [_number(connection, experiment_id)])[0]


def require_experiment(engine: sa.Engine, experiment_id: str, owners: Owners) -> None:
    """Raises NotFound unless there is such an experiment of one of ``owners``."""
    with read(engine) as connection:
        _number(connection, experiment_id, owners)


def list_experiments(engine: sa.Engine, owners: Owners, limit: int = 50, before: int | None = None) -> ExperimentPage:
    """Those of ``owners`` with numbers under ``before``, newest first."""
    query = sa.select(experiments.c.number).where(_owned(owners)).order_by(experiments.c.number.desc()).limit(limit + 1)
    if before is not None:
        query = query.where(experiments.c.number < before)
    with read(engine) as connection:
        numbers = connection.execute(query).scalars().all()
        items = _load(connection, list(numbers[:limit]))
    return ExperimentPage(items, items[-1].number if len(numbers) > limit else None)


def members(engine: sa.Engine, experiment_id: str) -> tuple[Experiment, list[Member]]:
    """The experiment with all its runs, in the order in which they were queued. Raises NotFound."""
    with read(engine) as connection:
        number = _number(connection, experiment_id)
        places = connection.execute(
            sa.select(experiment_runs).where(experiment_runs.c.experiment == number).order_by(experiment_runs.c.run)
        ).all()
        found = {run.number: run for run in load(connection, [place.run for place in places])}
        return _load(connection, [number])[0], [Member(p.variant, p.point, found[p.run]) for p in places]


def cancel(engine: sa.Engine, experiment_id: str, *, by: str | None = None) -> Experiment:
    """Cancels every run that hasn't ended, as each would be by itself. Asking again changes nothing. Raises NotFound."""
    for member in members(engine, experiment_id)[1]:
        with contextlib.suppress(Conflict):  # it has ended by now
            request_cancel(engine, member.run.id, by=by)
    return get(engine, experiment_id)


def delete(
    engine: sa.Engine,
    experiment_id: str,
    *,
    policy: Policy = Policy(),  # noqa: B008 (frozen)
    by: str | None = None,
) -> list[str]:
    """Deletes an experiment that has ended, with its runs: the ids of those whose files the caller deletes.

    Raises NotFound, and Conflict while a run of it hasn't ended or is needed by one that hasn't.
    """
    found, runs_of_it = members(engine, experiment_id)
    if not found.is_over:
        raise Conflict(f"experiment {experiment_id} has runs that haven't ended; cancel it first, then delete it")
    deleted = [run_id for member in runs_of_it for run_id in delete_run(engine, member.run.id, policy=policy, by=by)]
    with write(engine) as connection:
        connection.execute(sa.delete(experiments).where(experiments.c.id == experiment_id))
        if by is not None:
            audit.record(
                connection, by, "experiment.delete", experiment_id, time.time(), f"{found.name}, of {found.owner}"
            )
    return deleted


def _load(connection: sa.Connection, numbers: list[int]) -> list[Experiment]:
    counts: dict[int, dict[str, int]] = {number: {} for number in numbers}
    counted = (
        sa.select(experiment_runs.c.experiment, runs.c.state, sa.func.count())
        .join(runs, runs.c.number == experiment_runs.c.run)
        .where(experiment_runs.c.experiment.in_(numbers))
        .group_by(experiment_runs.c.experiment, runs.c.state)
        .order_by(runs.c.state)
    )
    for number, state, count in connection.execute(counted):
        counts[number][state] = count
    whole = sa.select(experiments, users.c.name.label("owner_name")).join(users, users.c.id == experiments.c.owner_id)
    rows = {row.number: row for row in connection.execute(whole.where(experiments.c.number.in_(numbers)))}
    return [_experiment(rows[number], counts[number]) for number in numbers]


def _experiment(row: sa.Row[Any], states: dict[str, int]) -> Experiment:
    config = parse_experiment(row.config)
    return Experiment(
        id=row.id,
        number=row.number,
        name=row.name,
        owner=row.owner_id,
        owner_name=row.owner_name,
        metric=config.metric,
        margin=config.margin,
        baseline=config.baseline_variant,
        created_at=row.created_at,
        planned=row.planned,
        runs=sum(states.values()),
        states=states,
        config=row.config,
    )


def _number(connection: sa.Connection, experiment_id: str, owners: Owners = None) -> int:
    query = sa.select(experiments.c.number).where(experiments.c.id == experiment_id.replace("\0", ""), _owned(owners))
    number: int | None = connection.execute(query).scalar()
    if number is None:
        raise NotFound(f"no experiment {experiment_id!r}")
    return number


def _owned(owners: Owners) -> sa.ColumnElement[bool]:
    return sa.true() if owners is None else experiments.c.owner_id.in_(sorted(owners))


def _earlier(connection: sa.Connection, config: ExperimentConfig, owner_id: str, key: str | None) -> Experiment | None:
    if key is None:
        return None
    same_key = (experiments.c.owner_id == owner_id, experiments.c.idempotency_key == key)
    row = connection.execute(sa.select(experiments.c.number, experiments.c.config).where(*same_key)).one_or_none()
    if row is None:
        return None
    if row.config != to_json(config):
        raise Conflict(f"the idempotency key {key!r} was used for another experiment; use a new key")
    return _load(connection, [row.number])[0]
