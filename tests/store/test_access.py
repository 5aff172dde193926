"""Secrets open the door while they live, and only their hashes are kept."""

from __future__ import annotations

import stat
import threading

import sqlalchemy as sa

from store import access
from store.tables import secrets

T0 = 2e9


def test_the_local_user_gets_one_token(engine):
    user, token = access.ensure_local_user(engine)
    assert access.ensure_local_user(engine) == (user, None)
    principal = access.authenticate(engine, token)
    assert (principal.user_id, principal.kind, principal.scope) == (user.id, "token", "all")
    assert access.authenticate(engine, token + "x") is None
    assert access.authenticate(engine, "\ud800\0") is None
    with engine.connect() as connection:
        assert all(token not in str(row) for row in connection.execute(sa.select(secrets)))


def test_tokens_expire_and_are_revoked(engine, owner):
    token = access.create_token(engine, owner, "read", ttl_s=100, now=T0)
    principal = access.authenticate(engine, token, now=T0 + 99)
    assert (principal.scope, principal.expires_at) == ("read", T0 + 100)
    assert access.authenticate(engine, token, now=T0 + 101) is None
    access.revoke(engine, principal.secret_id)
    assert access.authenticate(engine, token, now=T0) is None


def test_a_login_code_works_once_and_for_ten_minutes(engine, owner):
    code, expires_at = access.create_login_code(engine, owner, now=T0)
    assert expires_at == T0 + 600
    assert access.authenticate(engine, code, now=T0) is None
    session = access.redeem_login_code(engine, code, now=T0 + 599)
    assert access.redeem_login_code(engine, code, now=T0 + 599) is None
    assert access.authenticate(engine, session, now=T0 + 29 * 86_400).kind == "session"
    assert access.authenticate(engine, session, now=T0 + 31 * 86_400) is None
    late, _ = access.create_login_code(engine, owner, now=T0)
    assert access.redeem_login_code(engine, late, now=T0 + 601) is None
    assert access.redeem_login_code(engine, session) is None


def test_racing_browsers_share_no_code(engine, owner):
    code, _ = access.create_login_code(engine, owner)
    sessions = []
    threads = [
        threading.Thread(target=lambda: sessions.append(access.redeem_login_code(engine, code))) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(session is not None for session in sessions) == 1


def test_the_token_file_is_private_and_mended(engine, settings):
    file = settings.token_file
    token = access.ensure_token_file(engine, file)
    assert access.ensure_token_file(engine, file) == token == file.read_text().strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("of another database")
    new = access.ensure_token_file(engine, file)
    assert new != token
    assert access.authenticate(engine, new)
    assert [path.name for path in file.parent.iterdir() if "token" in path.name] == ["token"]
