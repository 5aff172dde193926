"""The seeded database of benchmarks and browser tests is one that the store could have made itself."""

from __future__ import annotations

import pytest

from benchmarks import seed
from store import events, metrics
from store.run_list import RunQuery, list_runs
from store.runs import get_run


def test_many_runs_and_a_long_curve(engine, submit):
    seeded = seed.seed(engine, 700, 20_000)
    page = list_runs(engine, RunQuery(sort="-metric.test.exact_accuracy"), None)
    assert page.total == 700
    values = [run.latest["test.exact_accuracy"] for run in page.items]
    assert values == sorted(values, reverse=True)
    run = get_run(engine, seeded.long_run)
    assert (run.number, run.name, run.state, set(run.latest)) == (700, seed.LONG_NAME, "succeeded", set(seed.KEYS))
    (curve,) = metrics.read(engine, run.id, [seed.LONG_KEY], 100)
    assert curve.count == 20_000 + seed.POINTS
    assert (max(curve.values), min(curve.values)) == seed.SPIKES
    assert [event.data["state"] for event in events.after(engine, run.id)][:2] == ["queued", "running"]
    assert submit().number == 701
    with pytest.raises(ValueError, match="has runs already"):
        seed.seed(engine, 1, 1)


def test_conditions_that_fit_many_runs_are_looked_for_once(engine):
    """Two tags were looked up as pairs: the square of the runs that have them."""
    seed.seed(engine, 3000, 100)
    both = list_runs(engine, RunQuery(tag=("ablation", "paper"), sort="-metric.test.exact_accuracy"), None)
    assert 220 < both.total < 380
    assert all({"ablation", "paper"} == set(run.tags) for run in both.items)
    worded = list_runs(engine, RunQuery(text="ABLAT", sort="-metric.test.exact_accuracy"), None)
    assert worded.total == list_runs(engine, RunQuery(tag=("ablation",)), None).total
    rare = list_runs(engine, RunQuery(text=seed.LONG_NAME, sort="-metric.test.exact_accuracy"), None)
    assert [run.name for run in rare.items] == [seed.LONG_NAME]
    assert rare.total == 1
