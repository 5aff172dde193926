"""What runs were submitted from: kept with each, once for all that share it, gone with the last."""

from __future__ import annotations

import dataclasses
import hashlib
import threading

import pytest
import sqlalchemy as sa

from laser_core.config import parse_experiment, parse_run
from store import checkouts, database, experiments
from store.checkouts import DIFF_BYTES, Checkout, CheckoutDetails, LeftOut, Whole
from store.errors import NotFound
from store.requests import Request
from store.run_list import RunQuery, list_runs
from store.runs import delete_run, get_run, request_cancel
from store.submit import create_run
from store.tables import checkouts as table

CONFIG = parse_run({"kind": "train"})
DIFF = b"diff --git a/x b/x\n-caf\xe9\x00\x1b[31m\r\n"


def whole(diff=DIFF, **facts):
    values = {
        "commit": "c" * 40,
        "branch": "main",
        "remote": "https://a:b@host/x\x1b[31m",
        "changed": 3,
        "untracked": 2,
    }
    values |= {"left_out": 1, "untracked_names": ("new \x00file",), "left_out_files": (LeftOut(".env", "a secret"),)}
    values |= {"size_bytes": len(diff), "sha256": hashlib.sha256(diff).hexdigest()} | facts
    return Whole(CheckoutDetails(**values), diff)


def count(engine):
    with database.read(engine) as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


@pytest.fixture
def made(engine, owner):
    """Queues a run that was submitted from a checkout: ``made(whole())``."""
    return lambda checkout, key=None: create_run(engine, CONFIG, owner, key, request=Request(checkout=checkout))[0]


def test_it_is_kept_to_the_byte_and_its_names_are_safe(engine, made):
    run = made(whole())
    sha256 = hashlib.sha256(DIFF).hexdigest()
    assert run.checkout == Checkout("c" * 40, "main", "https://***@host/x", 3, 2, 1, len(DIFF), sha256)
    assert get_run(engine, run.id) == run
    assert list_runs(engine, RunQuery(), None).items == [run]
    kept = checkouts.of_run(engine, run.id)
    assert kept.diff == DIFF
    assert kept.details.untracked_names == ("new file",)
    assert kept.details.left_out_files == (LeftOut(".env", "a secret"),)


def test_a_run_without_one_says_so(engine, submit):
    run = submit()
    assert run.checkout is get_run(engine, run.id).checkout is None
    with pytest.raises(NotFound, match="has no checkout"):
        checkouts.of_run(engine, run.id)


def test_a_key_sent_again_keeps_the_first(engine, made):
    first = made(whole(), "key")
    assert made(whole(b"another"), "key") == first
    assert checkouts.of_run(engine, first.id).diff == DIFF


def test_equal_ones_are_one_row_that_goes_with_its_last_run(engine, made):
    equal = [made(whole()) for _ in range(3)]
    other = made(whole(branch="other"))
    assert count(engine) == 2
    for run in equal:
        assert checkouts.of_run(engine, run.id) == checkouts.of_run(engine, equal[-1].id)
        delete_run(engine, request_cancel(engine, run.id).id)
    assert count(engine) == 1
    assert get_run(engine, other.id).checkout.branch == "other"


def test_all_runs_of_an_experiment_share_one(engine, owner):
    config = parse_experiment({"name": "e", "margin": 2, "seeds": 2, "variants": {"a": {}, "b": {}}})
    made, _ = experiments.create(engine, config, owner, request=Request(checkout=whole()))
    runs = [member.run for member in experiments.members(engine, made.id)[1]]
    assert {run.checkout.commit for run in runs} == {"c" * 40}
    assert count(engine) == 1
    experiments.cancel(engine, made.id)
    experiments.delete(engine, made.id)
    assert count(engine) == 0


def test_large_ones_are_packed(engine, made):
    diff = b"+the same line again\n" * (DIFF_BYTES // 21)
    assert checkouts.of_run(engine, made(whole(diff)).id).diff == diff
    with database.read(engine) as connection:
        assert connection.execute(sa.select(sa.func.length(table.c.diff))).scalar_one() < 5000


def test_submitted_and_deleted_at_once(engine, made):
    """Whoever submits finds it or keeps it again, also while the last run that had it goes."""
    faults = []

    def come_and_go():
        try:
            for _ in range(15):
                run = made(whole())
                assert checkouts.of_run(engine, run.id).diff == DIFF
                delete_run(engine, request_cancel(engine, run.id).id)
        except Exception as error:  # told by the test's thread
            faults.append(error)

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert count(engine) == 0


def test_what_is_another_is_another(engine, made):
    differ = [whole(), whole(b"x"), whole(commit="d" * 64), whole(untracked_names=()), whole(left_out=2)]
    assert len({dataclasses.astuple(made(each).checkout) for each in differ}) == 4  # names aren't told in short
    assert count(engine) == 5
