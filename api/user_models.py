"""What goes over the wire of users, their tokens and sessions, and the audit log; as in ``api.models``."""

from __future__ import annotations

from pydantic import Field

from api.models import Body, Model
from store.access import Scope, Token
from store.audit import Entry
from store.users import Role, User


class Me(Model):
    id: str
    name: str
    role: Role
    scope: Scope = Field(description="What the token or session in use may do.")


class NewUser(Body):
    name: str = Field(min_length=1, max_length=120)
    role: Role = Field(default="member", description="Members see and change their own runs, viewers see all runs.")


class UserChange(Body):
    role: Role | None = Field(default=None, description="Null leaves it as it is.")
    disabled: bool | None = Field(default=None, description="Whether the user is shut out; null leaves it as it is.")
    shares: float | None = Field(default=None, ge=0, le=1e6, description="Of the pool, beside those of the others.")
    most_running: int | None = Field(
        default=None, ge=0, le=1e6, description="Runs at once; 0 for the pool's own limit."
    )


class UserList(Model):
    items: list[User]


class NewToken(Body):
    name: str = Field(min_length=1, max_length=120, description="To tell it from others.")
    scope: Scope = Field(
        default="read", description="A token of scope read changes nothing; one of scope metrics reads /metrics alone."
    )
    ttl_days: int = Field(default=90, ge=1, le=366)
    user: str | None = Field(default=None, max_length=120, description="Name or id; only admins may name another user.")


class CreatedToken(Model):
    """``secret`` is shown this once."""

    token: Token
    secret: str


class TokenList(Model):
    items: list[Token]


class AuditPage(Model):
    """Newest first; ``next_before`` is ``before`` of the next page, null on the last."""

    items: list[Entry]
    next_before: int | None


class LoginFor(Body):
    user: str | None = Field(default=None, max_length=120, description="Name or id; only admins may name another user.")


class LoginCode(Model):
    """Opens a browser session once: visit ``url`` before ``expires_at``."""

    url: str
    code: str
    expires_at: float
