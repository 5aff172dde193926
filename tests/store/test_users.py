"""Users in the database: the last admin under racing admins, a disabled local user, what owners see."""

from __future__ import annotations

import hashlib
import threading

import pytest
from alembic import command
from alembic.config import Config

from store import access, audit, database, users
from store.errors import Conflict, NotFound, Refused
from store.run_list import RunQuery, list_runs
from store.runs import get_run, require_run, runs_changed
from store.tables import metadata

T0 = 2e9


def test_racing_admins_leave_one(engine):
    pair = [users.add(engine, name, "admin") for name in ("ann", "bob")]
    refused = []

    def disable(user):
        try:
            users.change(engine, user.id, is_disabled=True)
        except Conflict:
            refused.append(user.name)

    threads = [threading.Thread(target=disable, args=(user,)) for user in pair]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert [user.name for user in users.list_users(engine) if user.disabled_at is None] == refused


@pytest.mark.parametrize("name", ["", " x", "a\nb", "a\0b", "x" * 121, "<b>"])
def test_names_are_plain(engine, name):
    with pytest.raises(Refused):
        users.add(engine, name, "member")
    with pytest.raises(NotFound):
        users.get(engine, name)


def test_a_disabled_local_user_gets_no_token(engine, settings):
    token = access.ensure_token_file(engine, settings.token_file)
    users.add(engine, "ann", "admin")
    users.change(engine, "local", is_disabled=True)
    assert access.authenticate(engine, token) is None
    assert access.ensure_token_file(engine, settings.token_file) == ""
    users.change(engine, "local", is_disabled=False)
    assert access.ensure_token_file(engine, settings.token_file) == token


def test_tokens_are_not_without_number(engine, owner):
    for _ in range(access.MOST_TOKENS - len(access.list_tokens(engine, owner))):
        access.create_token(engine, owner, ttl_s=100, now=T0)
    with pytest.raises(Conflict, match="revoke one first"):
        access.create_token(engine, owner, now=T0)
    access.create_token(engine, owner, now=T0 + 101)


def test_a_role_is_as_it_is_now(engine):
    ann = users.add(engine, "ann", "member")
    principal = access.authenticate(engine, access.create_token(engine, ann.id))
    assert principal.sees == {ann.id}
    users.change(engine, "ann", "viewer")
    assert access.again(engine, principal).sees is None
    users.change(engine, "ann", is_disabled=True)
    assert access.again(engine, principal) is None


def test_owners_bound_what_is_seen(engine, owner, submit):
    run, others = submit(), frozenset({users.add(engine, "ann", "member").id})
    assert get_run(engine, run.id).owner_name == "local"
    for owners, sees in ((None, True), (frozenset({owner}), True), (others, False), (frozenset(), False)):
        assert list_runs(engine, RunQuery(), owners).total == sees
        assert len(runs_changed(engine, 0, owners)) == sees
    with pytest.raises(NotFound):
        require_run(engine, run.id, others)


def test_a_database_from_before_users_keeps_its_tokens(engine):
    with database.write(engine) as connection:
        metadata.drop_all(connection)
        connection.exec_driver_sql("DROP TABLE alembic_version")
        config = Config()
        config.set_main_option("script_location", str(database.MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        connection.exec_driver_sql("INSERT INTO users (id, name, role, created_at) VALUES ('u_1', 'ann', 'admin', 1)")
        digest = hashlib.sha256(b"secret").hexdigest()
        values = f"('s_1', 'u_1', 'token', '{digest}', 'all', 1)"
        columns = "id, user_id, kind, sha256, scope, created_at"
        connection.exec_driver_sql(f"INSERT INTO secrets ({columns}) VALUES {values}")
    database.migrate(engine)
    assert access.authenticate(engine, "secret").name == "ann"
    assert users.get(engine, "ann").disabled_at is None
    assert [token.name for token in access.list_tokens(engine, "u_1")] == [""]


def test_nothing_is_told_of_what_was_not_done(engine, owner):
    before = audit.entries(engine)
    with pytest.raises(Conflict):
        users.change(engine, "local", "member", by=owner)
    users.change(engine, "local", "admin", is_disabled=False, by=owner)
    assert audit.entries(engine) == before
