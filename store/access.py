"""Who may talk to the platform: users and their secrets. Only sha256 hashes of secrets are kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import sqlalchemy as sa

CODE_TTL_S = 600
SESSION_TTL_S = 30 * 86_400

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
    raise NotImplementedError


def ensure_token_file(engine: sa.Engine, file: Path, *, now: float | None = None) -> str:
    """The local user's token, as kept in ``file`` (mode 0600, written atomically); a missing or dead one is replaced."""
    raise NotImplementedError


def create_token(
    engine: sa.Engine, user_id: str, scope: Scope = "all", ttl_s: float | None = None, *, now: float | None = None
) -> str:
    """A new token's secret, shown this once; without ``ttl_s`` it doesn't expire."""
    raise NotImplementedError


def authenticate(engine: sa.Engine, secret: str, *, now: float | None = None) -> Principal | None:
    """Whom a token or session secret speaks for; None when unknown, expired or revoked."""
    raise NotImplementedError


def create_login_code(engine: sa.Engine, user_id: str, *, now: float | None = None) -> tuple[str, float]:
    """A code that a browser exchanges for a session once within ten minutes: (code, expires_at)."""
    raise NotImplementedError


def redeem_login_code(engine: sa.Engine, code: str, *, now: float | None = None) -> str | None:
    """The secret of a new session of 30 days; None for a code that is unknown, spent or too old."""
    raise NotImplementedError


def revoke(engine: sa.Engine, secret_id: str) -> None:
    """Ends a token or session at once; nothing when there is none."""
    raise NotImplementedError
