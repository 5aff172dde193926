"""What users have used of the pool: attempts that have ended are charged to their owner once, for each
of their devices, running ones as they stand."""

from __future__ import annotations

import sqlalchemy as sa

from store.policy import Account, Policy
from store.states import LEASED
from store.tables import attempts, runs, users

_UNCHARGED = (
    sa.select(
        attempts.c.run, attempts.c.epoch, attempts.c.started_at, attempts.c.ended_at, runs.c.owner_id, runs.c.gpus
    )
    .join(runs, runs.c.number == attempts.c.run)
    .where(attempts.c.is_charged.is_(False))
)


def read_accounts(connection: sa.Connection, policy: Policy, now: float) -> dict[str, Account]:
    """Every user's account by id, as of ``now``."""
    columns = (users.c.id, users.c.shares, users.c.usage, users.c.usage_at, users.c.most_running)
    made = {
        row.id: Account(
            row.shares, policy.faded(row.usage, now - row.usage_at), 0, row.most_running or policy.most_running
        )
        for row in connection.execute(sa.select(*columns))
    }
    for row in connection.execute(_UNCHARGED):
        of = made[row.owner_id]
        used = row.gpus * policy.accrued(row.started_at, row.ended_at, now)
        made[row.owner_id] = of._replace(usage=of.usage + used)
    holding = sa.select(runs.c.owner_id, sa.func.count()).where(runs.c.state.in_(LEASED)).group_by(runs.c.owner_id)
    for owner_id, running in connection.execute(holding):
        made[owner_id] = made[owner_id]._replace(running=running)
    return made


def settle(connection: sa.Connection, policy: Policy, now: float) -> None:
    """Charges the attempts that have ended since the last time to their owners."""
    owed: dict[str, float] = {}
    ended = connection.execute(_UNCHARGED.where(attempts.c.ended_at.is_not(None))).all()
    for row in ended:
        used = row.gpus * policy.accrued(row.started_at, row.ended_at, now)
        owed[row.owner_id] = owed.get(row.owner_id, 0.0) + used
        once = sa.and_(attempts.c.run == row.run, attempts.c.epoch == row.epoch)
        connection.execute(sa.update(attempts).where(once).values(is_charged=True))
    stored = sa.select(users.c.id, users.c.usage, users.c.usage_at).where(users.c.id.in_(owed))
    for user_id, usage, usage_at in connection.execute(stored).all():
        worth = policy.faded(usage, now - usage_at) + owed[user_id]
        connection.execute(sa.update(users).where(users.c.id == user_id).values(usage=worth, usage_at=now))
