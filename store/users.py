"""Users and their roles. A user is never deleted, only disabled: runs and the audit log go on naming them."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass
from typing import Any, Literal, get_args

import sqlalchemy as sa

from laser_core.schema import Problem
from store import audit
from store.database import read, write
from store.dialect import insert
from store.errors import Conflict, NotFound, Refused
from store.tables import users

LOCAL_USER = "u_local"  # whoever can read the token file
Role = Literal["admin", "member", "viewer"]
ROLES: tuple[Role, ...] = get_args(Role)
_NAME = re.compile(r"[^\W_][\w .+@()-]{0,119}")

# Whose runs somebody sees: ids of users; None for everybody's.
Owners = frozenset[str] | None


@dataclass(frozen=True)
class User:
    """``disabled_at`` is None while the user may come in."""

    id: str
    name: str
    role: Role
    created_at: float
    shares: float  # of the pool, beside those of the others
    most_running: int  # runs at once; 0 for the pool's own limit
    disabled_at: float | None


def seen_by(user_id: str, role: str) -> Owners:
    """Members see their own runs, admins and viewers everybody's."""
    return None if role in ("admin", "viewer") else frozenset({user_id})


def add(engine: sa.Engine, name: str, role: Role, *, by: str | None = None, now: float | None = None) -> User:
    """A new user, made by the user with the id ``by``. Raises Refused for a bad name, Conflict for one that is taken."""
    now = time.time() if now is None else now
    if not _NAME.fullmatch(name):
        shown = name[:60].encode("ascii", "backslashreplace").decode()
        raise Refused(Problem("name", f"expected 1 to 120 letters, digits, spaces and . _ + @ ( ) -, got {shown!r}"))
    values = {"id": "u_" + secrets.token_hex(6), "name": name, "role": role, "created_at": now}
    with write(engine) as connection:
        statement = insert(connection, users).values(values).on_conflict_do_nothing(index_elements=["name"])
        row = connection.execute(statement.returning(*_COLUMNS)).one_or_none()
        if row is None:
            raise Conflict(f"there is a user {name!r} already; choose another name")
        audit.record(connection, by, "user.create", row.id, now, f"{name} as {role}")
        return User(**row._mapping)


def of_identity(
    engine: sa.Engine, subject: str, email: str, domains: frozenset[str], *, now: float | None = None
) -> User | None:
    """The user whom an identity provider knows as ``subject``: bound to it already, or called like the checked ``email``,
    or, for an address in one of ``domains`` ("*": any), made a member now. None for anybody else, and who is disabled."""
    now = time.time() if now is None else now
    is_welcome = bool(domains & {"*", email.rpartition("@")[2].lower()}) and bool(email)
    with write(engine) as connection:
        row = connection.execute(sa.select(*_COLUMNS).where(users.c.subject == subject)).one_or_none()
        if row is None and email:
            unbound = sa.and_(users.c.name == email, users.c.subject.is_(None), users.c.id != LOCAL_USER)
            bind = sa.update(users).where(unbound).values(subject=subject).returning(*_COLUMNS)
            row = connection.execute(bind).one_or_none()
        if row is None and is_welcome and _NAME.fullmatch(email):
            values = {"id": "u_" + secrets.token_hex(6), "name": email, "role": "member", "created_at": now}
            made = insert(connection, users).values(**values, subject=subject).on_conflict_do_nothing()
            row = connection.execute(made.returning(*_COLUMNS)).one_or_none()
            if row is not None:
                audit.record(connection, row.id, "user.create", row.id, now, f"{email} as member, by first login")
    return None if row is None or row.disabled_at is not None else User(**row._mapping)


def list_users(engine: sa.Engine) -> list[User]:
    """Oldest first."""
    with read(engine) as connection:
        rows = connection.execute(sa.select(*_COLUMNS).order_by(users.c.created_at, users.c.id)).all()
    return [User(**row._mapping) for row in rows]


def get(engine: sa.Engine, name_or_id: str) -> User:
    """Raises NotFound."""
    with read(engine) as connection:
        return find(connection, name_or_id)


def change(
    engine: sa.Engine,
    name_or_id: str,
    role: Role | None = None,
    is_disabled: bool | None = None,
    shares: float | None = None,
    most_running: int | None = None,
    *,
    by: str | None = None,
    now: float | None = None,
) -> User:
    """Changes what isn't None; it takes effect with the user's next request, and a disabled user's streams end within a second.

    Raises NotFound, and Conflict when no admin would be left.
    """
    now = time.time() if now is None else now
    with write(engine) as connection:
        admins = _lock_admins(connection)
        user = find(connection, name_or_id)
        new: dict[str, Any] = {"role": role or user.role, "disabled_at": user.disabled_at}
        new["shares"] = user.shares if shares is None else shares
        new["most_running"] = user.most_running if most_running is None else most_running
        if is_disabled is not None and is_disabled != (user.disabled_at is not None):
            new["disabled_at"] = now if is_disabled else None
        is_admin = new["role"] == "admin" and new["disabled_at"] is None
        if not is_admin and admins == {user.id}:
            raise Conflict(f"{user.name!r} is the last admin; make another user admin first")
        connection.execute(sa.update(users).where(users.c.id == user.id).values(new))
        _record(connection, user, new, by, now)
        return find(connection, user.id)


def others_exist(engine: sa.Engine) -> bool:
    """Whether anybody but the local user may come in."""
    query = sa.select(users.c.id).where(users.c.id != LOCAL_USER, users.c.disabled_at.is_(None)).limit(1)
    with read(engine) as connection:
        return connection.execute(query).scalar() is not None


def find(connection: sa.Connection, name_or_id: str) -> User:
    """Raises NotFound."""
    if "\0" not in name_or_id:  # PostgreSQL refuses it in any text
        query = sa.select(*_COLUMNS).where(sa.or_(users.c.id == name_or_id, users.c.name == name_or_id))
        row = connection.execute(query.order_by(users.c.id != name_or_id).limit(1)).one_or_none()
        if row is not None:
            return User(**row._mapping)
    raise NotFound(f"no user {name_or_id[:120]!r}; `laser user list` names them all")


def _lock_admins(connection: sa.Connection) -> set[str]:
    """Ids of the admins who may come in, held until the transaction ends: two can't disable each other at once."""
    admins = sa.select(users.c.id).where(users.c.role == "admin", users.c.disabled_at.is_(None))
    return set(connection.execute(admins.order_by(users.c.id).with_for_update()).scalars())


def _record(connection: sa.Connection, user: User, new: dict[str, Any], by: str | None, now: float) -> None:
    if new["role"] != user.role:
        audit.record(connection, by, "user.role", user.id, now, f"{user.name}: {user.role} → {new['role']}")
    if (new["shares"], new["most_running"]) != (user.shares, user.most_running):
        told = f"{user.name}: {new['shares']:g} shares, {new['most_running'] or 'any number'} running at once"
        audit.record(connection, by, "user.share", user.id, now, told)
    if new["disabled_at"] != user.disabled_at:
        action: audit.Action = "user.enable" if new["disabled_at"] is None else "user.disable"
        audit.record(connection, by, action, user.id, now, user.name)


_COLUMNS = tuple(users.c[name] for name in User.__dataclass_fields__)
