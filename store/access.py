"""Who may talk to the platform: users and their secrets. Only sha256 hashes of secrets are kept.

A secret has 256 random bits and is looked up by its hash, so what the lookup's time tells is of no use to a guesser.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import sqlalchemy as sa

from store.database import read, write
from store.dialect import insert
from store.tables import secrets as secret_table
from store.tables import users

CODE_TTL_S = 600
SESSION_TTL_S = 30 * 86_400
LOCAL_USER = "u_local"

Scope = Literal["all", "read"]


@dataclass(frozen=True)
class User:
    id: str
    name: str
    role: str
    created_at: float


@dataclass(frozen=True)
class Principal:
    """Who a secret speaks for; ``kind`` is "token" or "session", ``secret_id`` what ``revoke`` takes."""

    user_id: str
    name: str
    role: str
    scope: Scope
    kind: str
    secret_id: str
    expires_at: float | None


def ensure_local_user(engine: sa.Engine, *, now: float | None = None) -> tuple[User, str | None]:
    """The local user, and a new token when the user was made by this very call."""
    now = time.time() if now is None else now
    with write(engine) as connection:
        values = {"id": LOCAL_USER, "name": "local", "role": "admin", "created_at": now}
        statement = insert(connection, users).values(values).on_conflict_do_nothing()
        made = connection.execute(statement.returning(users.c.id)).one_or_none() is not None
        row = connection.execute(sa.select(users).where(users.c.id == LOCAL_USER)).one()
        token = _add(connection, LOCAL_USER, "token", "all", now, None) if made else None
        return User(row.id, row.name, row.role, row.created_at), token


def ensure_token_file(engine: sa.Engine, file: Path, *, now: float | None = None) -> str:
    """The local user's token, as kept in ``file`` (mode 0600, written atomically); a missing or dead one is replaced."""
    ensure_local_user(engine, now=now)
    if secret := _live_secret(engine, file, now):
        return secret
    secret = create_token(engine, LOCAL_USER, now=now)
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
    engine: sa.Engine, user_id: str, scope: Scope = "all", ttl_s: float | None = None, *, now: float | None = None
) -> str:
    """A new token's secret, shown this once; without ``ttl_s`` it doesn't expire."""
    now = time.time() if now is None else now
    with write(engine) as connection:
        return _add(connection, user_id, "token", scope, now, ttl_s)


def authenticate(engine: sa.Engine, secret: str, *, now: float | None = None) -> Principal | None:
    """Whom a token or session secret speaks for; None when unknown, expired or revoked."""
    now = time.time() if now is None else now
    query = (
        sa.select(secret_table, users.c.name, users.c.role)
        .join(users, users.c.id == secret_table.c.user_id)
        .where(secret_table.c.sha256 == _hash(secret), secret_table.c.kind.in_(("token", "session")), _alive(now))
    )
    with read(engine) as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return Principal(row.user_id, row.name, row.role, cast(Scope, row.scope), row.kind, row.id, row.expires_at)


def create_login_code(engine: sa.Engine, user_id: str, *, now: float | None = None) -> tuple[str, float]:
    """A code that a browser exchanges for a session once within ten minutes: (code, expires_at)."""
    now = time.time() if now is None else now
    with write(engine) as connection:
        connection.execute(sa.delete(secret_table).where(secret_table.c.expires_at < now - 86_400))
        return _add(connection, user_id, "code", "all", now, CODE_TTL_S), now + CODE_TTL_S


def redeem_login_code(engine: sa.Engine, code: str, *, now: float | None = None) -> str | None:
    """The secret of a new session of 30 days; None for a code that is unknown, spent or too old."""
    now = time.time() if now is None else now
    spend = (
        sa.update(secret_table)
        .where(secret_table.c.sha256 == _hash(code), secret_table.c.kind == "code", _alive(now))
        .where(secret_table.c.used_at.is_(None))
        .values(used_at=now)
        .returning(secret_table.c.user_id)
    )
    with write(engine) as connection:
        user_id = connection.execute(spend).scalar_one_or_none()
        if user_id is None:
            return None
        return _add(connection, user_id, "session", "all", now, SESSION_TTL_S)


def revoke(engine: sa.Engine, secret_id: str) -> None:
    """Ends a token or session at once; nothing when there is none."""
    with write(engine) as connection:
        connection.execute(sa.delete(secret_table).where(secret_table.c.id == secret_id))


def _add(connection: sa.Connection, user_id: str, kind: str, scope: Scope, now: float, ttl_s: float | None) -> str:
    secret = secrets.token_urlsafe(32)
    connection.execute(
        sa.insert(secret_table).values(
            id="s_" + secrets.token_hex(8),
            user_id=user_id,
            kind=kind,
            sha256=_hash(secret),
            scope=scope,
            created_at=now,
            expires_at=None if ttl_s is None else now + ttl_s,
        )
    )
    return secret


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _alive(now: float) -> sa.ColumnElement[bool]:
    return sa.or_(secret_table.c.expires_at.is_(None), secret_table.c.expires_at > now)


def _live_secret(engine: sa.Engine, file: Path, now: float | None) -> str | None:
    """The file's token if it still opens the door; its mode is set right on the way."""
    with contextlib.suppress(FileNotFoundError, UnicodeDecodeError):
        secret = file.read_text().strip()
        if secret and authenticate(engine, secret, now=now):
            file.chmod(0o600)
            return secret
    return None
