"""One round of the reconciler, over real databases and a real broker."""

from __future__ import annotations

import os
import time

import pytest
import redis

from laser_core.config import InspectConfig
from laser_core.events import CheckpointSaved
from store import claims, workers
from store.errors import Outdated
from store.ingest import ingest
from store.runs import get_run
from store.states import State
from store.submit import create_run
from worker.reconciler import PATIENCE_S, SPOOL_KEPT_S, Identity, Reconciler, bell, sweep


@pytest.fixture
def waiting_rings(broker_url):
    """Counts the rings in a queue of this test's own."""
    with redis.Redis(unix_socket_path=broker_url.removeprefix("redis+socket://"), db=7) as client:
        client.flushdb()
        yield lambda: client.llen("celery")


@pytest.fixture
def reconciler(engine, settings, broker_url, waiting_rings):
    bells = []

    def reconciler(name="w1", slots=1, url=f"{broker_url}?virtual_host=7", clock=time.monotonic):
        bells.append(bell(url))
        changed = settings.model_copy(update={"slots": slots})
        return Reconciler(engine, changed, Identity(name, "here", 7), bells[-1], clock)

    yield reconciler
    for each in bells:
        each.close()


def test_the_first_round_registers_and_later_ones_beat(engine, reconciler):
    one = reconciler(slots=3)
    one.round()
    (first,) = workers.list_workers(engine)
    assert (first.id, first.host, first.pid, first.slots) == ("w1", "here", 7, 3)
    one.round()
    (second,) = workers.list_workers(engine)
    assert second.seen_at > first.seen_at
    assert second.started_at == first.started_at


def test_it_rings_for_what_is_queued_but_never_more_than_free_slots(reconciler, submit, waiting_rings):
    one = reconciler(slots=2)
    one.round()
    assert waiting_rings() == 0
    submit(seed=0)
    one.round()
    assert waiting_rings() == 1
    submit(seed=1), submit(seed=2)
    one.round()
    assert waiting_rings() == 1 + 2


def test_it_rings_for_no_worker_without_room_and_says_why(engine, settings, reconciler, submit, waiting_rings):
    one = reconciler()
    submit()
    one.settings = settings.model_copy(update={"min_free_mib": 2**40})
    for _ in range(2):  # announces itself, then beats
        one.round()
        assert f"in {settings.artifacts_dir}, {2**40} wanted" in workers.list_workers(engine)[0].unable
    assert waiting_rings() == 0
    other = reconciler("w2")
    other.round()
    assert waiting_rings() == 0  # w1 leads
    one.round()
    assert waiting_rings() == 1 + 1  # w1 may hear one of them
    one.settings = settings
    one.round()
    assert {worker.unable for worker in workers.list_workers(engine)} == {""}


def test_it_rings_for_no_drained_worker_and_leads_no_other_version(engine, reconciler, submit, waiting_rings):
    one = reconciler()
    one.round()
    submit()
    workers.drain(engine, "w1", True)
    one.round()
    assert waiting_rings() == 0
    workers.drain(engine, "w1", False)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Outdated, match="9999"):
        one.round()
    assert waiting_rings() == 0
    assert workers.list_workers(engine)[0].outdated


def test_an_older_database_is_told_from_one_that_is_away(engine, reconciler):
    one = reconciler()
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE workers DROP COLUMN unable")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0020'")
    with pytest.raises(Outdated, match="0020"):
        one.round()


def test_after_a_long_outage_workers_have_a_moment_to_renew_their_leases(engine, settings, reconciler, submit):
    """The database was away for longer than a lease: whoever beats at once keeps the run, the silent one loses it."""
    past = time.time() - 60
    held, silent = (submit(seed=seed) for seed in range(2))
    for _ in range(2):
        claims.claim_run(engine, "w", settings.lease_s, settings=settings, now=past)
    now = [1000.0]
    one = reconciler(clock=lambda: now[0])
    now[0] += 60
    one.round()
    assert get_run(engine, held.id).state == State.starting
    claims.heartbeat(engine, held.id, 1, 60)
    for _ in range(int(PATIENCE_S) - 1):
        now[0] += 1
        one.round()
        assert get_run(engine, silent.id).state == State.starting
    now[0] += 60  # rounds that slow don't put it off for ever
    one.round()
    assert get_run(engine, held.id).state == State.starting
    assert get_run(engine, silent.id).state == State.queued


def test_while_every_slot_is_busy_no_ring_piles_up(engine, settings, reconciler, submit, waiting_rings):
    one = reconciler()
    one.round()
    submit(seed=0), submit(seed=1)
    claims.claim_run(engine, "w1", 60, settings=settings)
    for _ in range(3):
        one.round()
    assert waiting_rings() == 0


def test_it_rings_for_an_inspection_though_every_slot_is_busy(
    engine, settings, reconciler, submit, owner, waiting_rings
):
    trained = submit(seed=0)
    claims.claim_run(engine, "w1", 60, settings=settings)
    claims.mark_running(engine, trained.id, 1)
    ingest(engine, trained.id, 1, 0, 9, [CheckpointSaved(5, "step-5", {"model.safetensors": "0" * 64}, 1)])
    claims.finish(engine, trained.id, 1, State.succeeded)
    one = reconciler()
    one.round()
    submit(seed=1), submit(seed=2)
    claims.claim_run(engine, "w1", 60, settings=settings)
    create_run(engine, InspectConfig(trained.id), owner)
    one.round()
    assert waiting_rings() == 1


def test_one_leads_and_the_other_only_beats(engine, reconciler, submit, waiting_rings):
    one, two = reconciler("w1"), reconciler("w2")
    one.round(), two.round()
    submit()
    two.round()
    assert waiting_rings() == 0
    one.round()
    assert waiting_rings() == 1
    assert len(workers.list_workers(engine)) == 2


def test_without_a_broker_lost_runs_still_return_to_the_queue(engine, settings, reconciler, submit, tmp_path):
    run = submit()
    claims.claim_run(engine, "lost", 20, settings=settings, now=time.time() - 60)
    one = reconciler(url=f"redis+socket://{tmp_path}/nobody")
    one.round()
    one.round()
    assert get_run(engine, run.id).state == State.queued


@pytest.mark.parametrize("url", ["", "s3://lab/elsewhere"])
def test_what_old_attempts_left_is_swept(settings, url):
    """Folders of attempts are there only where files are kept elsewhere."""
    settings = settings.model_copy(update={"artifacts_url": url})
    spools, folders = settings.spool_dir, settings.artifacts_dir
    for folder in (spools, folders / "r_old", folders / "r_old-1"):
        folder.mkdir(parents=True)
        (folder / "r_old-1.spool").touch()
    (spools / "other").touch()
    (settings.locks_dir / "r_old").mkdir(parents=True)
    sweep(settings, time.time() + SPOOL_KEPT_S - 60)
    assert len(list(spools.iterdir())) == len(list(folders.iterdir())) == 2
    sweep(settings, time.time() + SPOOL_KEPT_S + 60)
    assert [file.name for file in spools.iterdir()] == ["other"]
    assert {file.name for file in folders.iterdir()} == ({"r_old"} if url else {"r_old", "r_old-1"})
    assert list(settings.locks_dir.iterdir()) == []


def test_the_folder_of_a_living_attempt_stays(settings):
    """However long ago it began: its spool grows."""
    settings = settings.model_copy(update={"artifacts_url": "s3://lab/elsewhere"})
    folder, spool = settings.artifacts_dir / "r_long-1", settings.spool_dir / "r_long-1.spool"
    folder.mkdir(parents=True)
    spool.parent.mkdir()
    spool.touch()
    os.utime(folder, (1, 1))
    sweep(settings, time.time())
    assert folder.exists()
