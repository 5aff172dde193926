"""Workers that are drained, and workers of another version."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa

from laser_core.config import parse_run
from store import audit, claims, queue, tables, workers
from store.errors import NotFound, Outdated
from store.requests import Request
from store.runs import get_run
from store.submit import create_run

T0 = time.time()


@pytest.fixture
def known(engine):
    for name in ("w1", "w2"):
        workers.register(engine, name, "host", 7, 1, "cpu", "1")


def test_a_drained_worker_is_told_so_and_takes_nothing_new(engine, settings, known, start, submit):
    held = start()
    assert not claims.heartbeat(engine, held, 1, 20).drain
    assert workers.drain(engine, "w1", True).drained_at is not None
    assert claims.heartbeat(engine, held, 1, 20).drain
    waiting = submit(seed=1)
    assert claims.claim_run(engine, "w1", 20, settings=settings) is None
    claims.release(engine, held, 1, "drained")
    assert claims.claim_run(engine, "w2", 20, settings=settings).run_id == held
    assert workers.drain(engine, "w1", False).drained_at is None
    assert claims.claim_run(engine, "w1", 20, settings=settings).run_id == waiting.id


def test_draining_again_changes_nothing_and_is_audited_once(engine, known, owner):
    first = workers.drain(engine, "w1", True, by=owner, now=T0)
    assert workers.drain(engine, "w1", True, by=owner, now=T0 + 9).drained_at == first.drained_at
    told = [(entry.action, entry.object_id, entry.user) for entry in audit.entries(engine)]
    assert told == [("worker.drain", "w1", owner)]
    with pytest.raises(NotFound, match="laser worker list"):
        workers.drain(engine, "nobody", True)


def test_a_worker_that_announces_itself_again_stays_drained(engine, known):
    workers.drain(engine, "w1", True)
    workers.register(engine, "w1", "host", 8, 1, "cpu", "2")
    (again,) = [worker for worker in workers.list_workers(engine) if worker.id == "w1"]
    assert (again.version, again.drained_at is None) == ("2", False)


def test_the_queue_counts_no_drained_slot(engine, settings, known, submit):
    submit()
    workers.drain(engine, "w1", True)
    assert queue.look(engine, settings).slots == 1
    workers.drain(engine, "w2", True)
    seen = queue.look(engine, settings)
    assert (seen.slots, seen.waiting[0].reason) == (0, "no worker is alive, or all are drained")


def test_a_worker_without_room_says_so_wherever_a_run_waits(engine, settings, owner):
    for name, label in (("w1", "big"), ("w2", "")):
        workers.register(engine, name, "host", 7, 1, "cpu", "1", (label,), unable="9 MiB free")
    for pool in ("", "big", "odd"):
        create_run(engine, parse_run({"kind": "train"}), owner, request=Request(pool=pool))
    seen = queue.look(engine, settings)
    assert seen.slots == 0
    assert [waiting.reason for waiting in seen.waiting] == [
        "no worker takes it: w1 has 9 MiB free",
        "no worker takes it: w1 has 9 MiB free",
        "no worker is alive, or all are drained",
    ]
    assert {worker.unable for worker in workers.list_workers(engine)} == {"9 MiB free"}
    workers.beat(engine, "w2")
    seen = queue.look(engine, settings)
    assert (seen.slots, seen.waiting[0].reason) == (1, "next")
    assert seen.waiting[1].reason == "no worker takes it: w1 has 9 MiB free"


def test_what_a_worker_without_room_still_carries_out_is_counted(engine, settings, known, start):
    start()
    workers.beat(engine, "w1", unable="9 MiB free")
    seen = queue.look(engine, settings)
    assert (seen.slots, seen.busy) == (2, 1)  # that one, and the free slot of w2


def test_the_queue_counts_no_worker_of_another_version(engine, settings, submit):
    workers.register(engine, "w1", "host", 7, 1, "cpu", "1")
    with engine.begin() as connection:
        connection.execute(sa.update(tables.workers).values(schema="0001"))
    submit()
    seen = queue.look(engine, settings)
    assert (seen.slots, seen.waiting[0].position) == (0, None)
    assert seen.waiting[0].reason == "no worker takes it: w1 has another version than the database"


def test_another_version_claims_nothing_and_says_why(engine, settings, submit):
    run = submit()
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Outdated, match="schema 9999"):
        claims.claim_run(engine, "w1", 20, settings=settings)
    assert get_run(engine, run.id).epoch == 0
    workers.register(engine, "w1", "host", 7, 1, "cpu", "1")
    assert workers.list_workers(engine)[0].outdated


def test_a_configuration_of_a_newer_version_waits_for_a_newer_worker(engine, settings, submit):
    run = submit()
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE runs SET schema_version = schema_version + 1")
    assert claims.claim_run(engine, "w1", 20, settings=settings) is None
    assert get_run(engine, run.id).epoch == 0
