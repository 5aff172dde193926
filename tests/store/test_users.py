"""Users in the database: the last admin under racing admins, a disabled local user, what owners see."""

from __future__ import annotations

import threading

import pytest

from store import access, audit, users
from store.errors import Conflict, NotFound, Refused
from store.run_list import RunQuery, list_runs
from store.runs import get_run, require_run, runs_changed

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


def test_nothing_is_told_of_what_was_not_done(engine, owner):
    before = audit.entries(engine)
    with pytest.raises(Conflict):
        users.change(engine, "local", "member", by=owner)
    users.change(engine, "local", "admin", is_disabled=False, by=owner)
    assert audit.entries(engine) == before
