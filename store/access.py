"""Who may talk to the platform: secrets (tokens, browser sessions, login codes), and for whom.

Only sha256 hashes of secrets are kept. A secret has 256 random bits and is looked up by its hash, so what the lookup's time
tells is of no use to a guesser.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import sqlalchemy as sa

from store import audit
from store.database import read, write
from store.dialect import insert
from store.errors import Conflict, NotFound
from store.tables import secrets as secret_table
from store.tables import users
from store.text import clean
from store.users import LOCAL_USER, Owners, Role, User, find, seen_by

CODE_TTL_S = 600
INVITATION_TTL_S = 86_400  # a link that an admin sends to somebody else
SESSION_TTL_S = 30 * 86_400
DAY_S = 86_400
MOST_TOKENS = 100  # of one user

Scope = Literal["all", "read", "metrics"]  # metrics: GET /metrics and nothing else


@dataclass(frozen=True)
class Principal:
    """Who a secret speaks for; ``kind`` is "token" or "session", ``secret_id`` what ``revoke`` takes."""

    user_id: str
    name: str
    role: Role
    scope: Scope
    kind: str
    secret_id: str
    expires_at: float | None

    @property
    def sees(self) -> Owners:
        """Whose runs: what every list, stream and look-up of runs is limited to."""
        return seen_by(self.user_id, self.role)


@dataclass(frozen=True)
class Token:
    """A token or browser session as its owner sees it: never the secret. ``expires_at`` is None for the token file's."""

    id: str
    user: str
    user_name: str
    kind: str
    name: str
    scope: Scope
    created_at: float
    expires_at: float | None


def ensure_local_user(engine: sa.Engine, *, now: float | None = None) -> tuple[User, str | None]:
    """The local user, and a new token when the user was made by this very call."""
    now = time.time() if now is None else now
    with write(engine) as connection:
        values = {"id": LOCAL_USER, "name": "local", "role": "admin", "created_at": now}
        statement = insert(connection, users).values(values).on_conflict_do_nothing()
        made = connection.execute(statement.returning(users.c.id)).one_or_none() is not None
        token = _add(connection, LOCAL_USER, "token", "all", now, None)[1] if made else None
        return find(connection, LOCAL_USER), token


def ensure_token_file(engine: sa.Engine, file: Path, *, now: float | None = None) -> str:
    """The local user's token, as kept in ``file`` (mode 0600, written atomically); a missing or dead one is replaced.

    Empty when an admin has disabled the local user: no token would open the door.
    """
    user, _ = ensure_local_user(engine, now=now)
    if user.disabled_at is not None:
        return ""
    if secret := _live_secret(engine, file, now):
        return secret
    secret = create_token(engine, LOCAL_USER, name=f"token file {file}", now=now)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secret + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
    # Where another process replaced the file a moment later, its token is the one that clients will read.
    return _live_secret(engine, file, now) or secret


def create_token(
    engine: sa.Engine,
    user_id: str,
    scope: Scope = "all",
    ttl_s: float | None = None,
    *,
    name: str = "",
    by: str | None = None,
    now: float | None = None,
) -> str:
    """A new token's secret, shown this once; without ``ttl_s`` it doesn't expire. As ``issue``."""
    return issue(engine, user_id, scope, ttl_s, name=name, by=by, now=now)[1]


def issue(
    engine: sa.Engine,
    user_id: str,
    scope: Scope = "all",
    ttl_s: float | None = None,
    *,
    name: str = "",
    by: str | None = None,
    now: float | None = None,
) -> tuple[Token, str]:
    """A new token of a user and its secret, shown this once; ``by`` is the id of who makes it, the user's own by default.

    Raises Conflict when the user has too many.
    """
    now = time.time() if now is None else now
    with write(engine) as connection:
        _forget_expired(connection, now)
        held = _listed.where(secret_table.c.user_id == user_id, secret_table.c.kind == "token", _alive(now))
        if len(connection.execute(held).all()) >= MOST_TOKENS:
            raise Conflict(f"{MOST_TOKENS} tokens are in use; revoke one first (`laser token list` names them)")
        token_id, secret = _add(connection, user_id, "token", scope, now, ttl_s, clean(name, 120))
        life = "without end" if ttl_s is None else f"{ttl_s / DAY_S:g} days"
        audit.record(connection, by or user_id, "token.create", token_id, now, f"of {user_id}, scope {scope}, {life}")
        return _token(connection.execute(_listed.where(secret_table.c.id == token_id)).one()), secret


def list_tokens(engine: sa.Engine, user_id: str, *, now: float | None = None) -> list[Token]:
    """A user's tokens and browser sessions that still open the door, newest first."""
    now = time.time() if now is None else now
    query = _listed.where(secret_table.c.user_id == user_id, _alive(now))
    with read(engine) as connection:
        rows = connection.execute(query.order_by(secret_table.c.created_at.desc(), secret_table.c.id)).all()
    return [_token(row) for row in rows]


def authenticate(engine: sa.Engine, secret: str, *, now: float | None = None) -> Principal | None:
    """Whom a token or session secret speaks for; None when unknown, expired or revoked, or its user disabled."""
    return _principal(engine, _BY_SECRET, _hash(secret), now)


def again(engine: sa.Engine, principal: Principal, *, now: float | None = None) -> Principal | None:
    """As ``authenticate``, for one who stays: role and all as they are by now, None when the door is closed meanwhile."""
    return _principal(engine, _BY_ID, principal.secret_id, now)


def create_login_code(
    engine: sa.Engine, user_id: str, *, by: str | None = None, now: float | None = None
) -> tuple[str, float]:
    """A code that a browser exchanges for a session, once: (code, expires_at). One that somebody else asked for lasts a
    day, as it has to be sent."""
    now = time.time() if now is None else now
    is_invitation = by not in (None, user_id)
    ttl_s = INVITATION_TTL_S if is_invitation else CODE_TTL_S
    with write(engine) as connection:
        _forget_expired(connection, now)
        if is_invitation:
            audit.record(connection, by, "login-link.create", user_id, now)
        return _add(connection, user_id, "code", "all", now, ttl_s)[1], now + ttl_s


def redeem_login_code(engine: sa.Engine, code: str, *, now: float | None = None) -> str | None:
    """The secret of a new session of 30 days; None for a code that is unknown, spent or too old, or of a disabled user."""
    now = time.time() if now is None else now
    may_enter = secret_table.c.user_id.in_(sa.select(users.c.id).where(users.c.disabled_at.is_(None)))
    spend = (
        sa.update(secret_table)
        .where(secret_table.c.sha256 == _hash(code), secret_table.c.kind == "code", _alive(now), may_enter)
        .where(secret_table.c.used_at.is_(None))
        .values(used_at=now)
        .returning(secret_table.c.user_id)
    )
    with write(engine) as connection:
        user_id = connection.execute(spend).scalar_one_or_none()
        if user_id is None:
            return None
        session_id, secret = _add(connection, user_id, "session", "all", now, SESSION_TTL_S, "browser")
        audit.record(connection, user_id, "login", session_id, now)
        return secret


def open_session(
    engine: sa.Engine,
    user_id: str,
    how: str,
    token: Principal | None = None,
    *,
    now: float | None = None,
) -> tuple[str, float]:
    """(secret, seconds of life) of a new session of 30 days; ``how`` is for the audit log.

    One that was opened with a ``token`` may do what that may, and ends with it, be it expired or revoked.
    """
    now = time.time() if now is None else now
    scope: Scope = token.scope if token else "all"
    ends = token.expires_at if token else None
    ttl_s = SESSION_TTL_S if ends is None else min(SESSION_TTL_S, ends - now)
    with write(engine) as connection:
        _forget_expired(connection, now)
        name, opened_with = f"browser, by {how}", token.secret_id if token else None
        session_id, secret = _add(connection, user_id, "session", scope, now, ttl_s, name, opened_with)
        audit.record(connection, user_id, "login", session_id, now, f"by {how}")
    return secret, ttl_s


def revoke(
    engine: sa.Engine, secret_id: str, *, of: Owners = None, by: str | None = None, now: float | None = None
) -> None:
    """Ends a token or session at once, and what was opened with it.

    Raises NotFound where the users ``of`` (None: anybody) have no such one.
    """
    now = time.time() if now is None else now
    gone = sa.delete(secret_table).where(secret_table.c.id == secret_id, secret_table.c.kind.in_(("token", "session")))
    with_it = sa.delete(secret_table).where(secret_table.c.opened_with == secret_id)
    if of is not None:
        gone = gone.where(secret_table.c.user_id.in_(of))
    with write(engine) as connection:
        user_id = None if "\0" in secret_id else connection.execute(gone.returning(secret_table.c.user_id)).scalar()
        if user_id is None:
            raise NotFound(f"no token {secret_id[:40]!r}; `laser token list` names yours")
        connection.execute(with_it)
        audit.record(connection, by or user_id, "token.revoke", secret_id, now, f"of {user_id}")


_listed = (
    sa.select(secret_table, users.c.name.label("user_name"))
    .join(users, users.c.id == secret_table.c.user_id)
    .where(secret_table.c.kind.in_(("token", "session")))
)


def _token(row: sa.Row[Any]) -> Token:
    same = {field: getattr(row, field) for field in Token.__dataclass_fields__ if field != "user"}
    return Token(user=row.user_id, **same)


def _alive(now: float | sa.BindParameter[float]) -> sa.ColumnElement[bool]:
    return sa.or_(secret_table.c.expires_at.is_(None), secret_table.c.expires_at > now)


# Built once, as every request asks.
_ENTRY = (
    sa.select(secret_table, users.c.name.label("user_name"), users.c.role)
    .join(users, users.c.id == secret_table.c.user_id)
    .where(secret_table.c.kind.in_(("token", "session")), _alive(sa.bindparam("now")), users.c.disabled_at.is_(None))
)
_BY_SECRET = _ENTRY.where(secret_table.c.sha256 == sa.bindparam("which"))
_BY_ID = _ENTRY.where(secret_table.c.id == sa.bindparam("which"))


def _principal(engine: sa.Engine, query: sa.Select[Any], which: str, now: float | None) -> Principal | None:
    with read(engine) as connection:
        values = {"which": which, "now": time.time() if now is None else now}
        row = connection.execute(query, values).one_or_none()
    if row is None:
        return None
    return Principal(row.user_id, row.user_name, row.role, cast(Scope, row.scope), row.kind, row.id, row.expires_at)


def _forget_expired(connection: sa.Connection, now: float) -> None:
    connection.execute(sa.delete(secret_table).where(secret_table.c.expires_at < now - DAY_S))


def _add(
    connection: sa.Connection,
    user_id: str,
    kind: str,
    scope: Scope,
    now: float,
    ttl_s: float | None,
    name: str = "",
    opened_with: str | None = None,
) -> tuple[str, str]:
    """(id, secret)"""
    secret_id, secret = "s_" + secrets.token_hex(8), secrets.token_urlsafe(32)
    connection.execute(
        sa.insert(secret_table).values(
            id=secret_id,
            user_id=user_id,
            kind=kind,
            name=name,
            sha256=_hash(secret),
            scope=scope,
            created_at=now,
            expires_at=None if ttl_s is None else now + ttl_s,
            opened_with=opened_with,
        )
    )
    return secret_id, secret


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _live_secret(engine: sa.Engine, file: Path, now: float | None) -> str | None:
    """The file's token if it still opens the door; its mode is set right on the way."""
    with contextlib.suppress(FileNotFoundError, UnicodeDecodeError):
        secret = file.read_text().strip()
        if secret and authenticate(engine, secret, now=now):
            file.chmod(0o600)
            return secret
    return None
