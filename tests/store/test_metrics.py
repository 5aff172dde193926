"""Metrics come back as they went in, and charts keep their extremes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from laser_core.events import Metrics
from store import metrics
from store.database import write
from store.errors import NotFound
from store.ingest import ingest
from store.runs import get_run, number_of


@pytest.fixture
def add(engine, start):
    """Adds points to one run as a worker's flushes do: ``add({key: (steps, values)})`` gives its id."""
    run_id = start()

    def add(points):
        with write(engine) as connection:
            metrics.append(connection, number_of(connection, run_id), points)
        return run_id

    return add


def test_small_flushes_become_few_chunks(engine, add):
    rng = np.random.default_rng(0)
    values = rng.normal(size=3000)
    for start in range(0, 3000, 60):
        steps = range(start, start + 60)
        run_id = add({"a": (steps, values[start : start + 60]), "b": (steps, -values[start : start + 60])})
    a, b = metrics.read(engine, run_id, points=10_000)
    assert (a.key, b.key) == ("a", "b")
    assert a.steps == list(range(3000))
    np.testing.assert_array_equal(a.values, values)
    np.testing.assert_array_equal(b.values, -values)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM chunks").scalar() <= 12


def test_a_large_batch_is_cut_into_chunks(engine, add):
    count = 3 * metrics.CHUNK_POINTS + 5
    add({"a": (range(count), np.arange(count) / 3)})
    run_id = add({"a": (range(count - 10, count + 10), np.arange(20.0))})
    (a,) = metrics.read(engine, run_id, points=10**6)
    assert a.steps == list(range(count + 10))
    assert a.values[-10:] == list(range(10, 20))
    assert list(metrics.iter_points(engine, run_id)) == [("a", s, v) for s, v in zip(a.steps, a.values, strict=True)]


def test_a_chart_keeps_ends_and_extremes(engine, add):
    values = np.sin(np.arange(100_000) / 1000)
    values[54_321], values[7] = 1e9, -1e9
    run_id = add({"a": (range(100_000), values)})
    for points in (4, 10, 101, 1000):
        (a,) = metrics.read(engine, run_id, points=points)
        assert len(a.steps) <= max(points, 4)
        assert a.count == 100_000
        assert (a.steps[0], a.steps[-1]) == (0, 99_999)
        assert {(54_321, 1e9), (7, -1e9)} <= set(zip(a.steps, a.values, strict=True))
        assert a.steps == sorted(a.steps)


def test_only_what_is_new_and_asked_for(engine, add):
    run_id = add({"a": (range(1000), np.zeros(1000)), "b": ([5], [1.0])})
    assert metrics.keys(engine, run_id) == ["a", "b"]
    (a,) = metrics.read(engine, run_id, ["a"], after_step=990)
    assert a.steps == list(range(991, 1000))
    assert metrics.read(engine, run_id, ["a", "c"], after_step=999) == []
    with pytest.raises(NotFound):
        metrics.iter_points(engine, "r_nothing")


def test_nan_and_infinity_survive(engine, start):
    run_id = start()
    values = [math.nan, math.inf, -math.inf, 1.0, math.nan]
    ingest(engine, run_id, 1, 0, 5, [Metrics(step, {"a": value}) for step, value in enumerate(values)])
    (a,) = metrics.read(engine, run_id)
    np.testing.assert_array_equal(a.values, values)
    assert math.isnan(get_run(engine, run_id).latest["a"])
    ingest(engine, run_id, 1, 5, 9, [Metrics(5, {"a": math.inf})])
    assert get_run(engine, run_id).latest["a"] == math.inf


def test_a_chart_full_of_nan_still_draws(engine, add):
    values = np.full(10_000, np.nan)
    values[5000] = 3.0
    run_id = add({"a": (range(10_000), values)})
    (a,) = metrics.read(engine, run_id, points=100)
    assert 3.0 in a.values


@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(batches=st.lists(st.lists(st.integers(0, 30), max_size=20), max_size=6))
def test_the_first_value_of_a_rising_step_is_kept(engine, add, batches):
    """Whatever is sent, stored steps rise strictly and no value changes."""
    key = f"k{np.random.default_rng().integers(2**60)}"
    expected: dict[int, float] = {}
    sent = 0
    for batch in batches:
        values = [float(sent := sent + 1) for _ in batch]
        run_id = add({key: (batch, values)})
        for step, value in zip(batch, values, strict=True):
            if step > max(expected, default=-1):
                expected[step] = value
    if expected:
        (a,) = metrics.read(engine, run_id, [key])
        assert dict(zip(a.steps, a.values, strict=True)) == expected


def test_a_long_series_is_drawn_from_its_summary_exactly(engine, add):
    """What a chart shows of a long series are real points, among them the extremes of every part, whatever is asked."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=70_000)
    values[::1000] = np.nan
    for start in range(0, 70_000, 7000):  # whole chunks
        run_id = add({"a": (range(start, start + 7000), values[start : start + 7000])})
    for start in range(0, 3000, 100):  # and short ones
        run_id = add({"a": (range(70_000 + start, 70_100 + start), np.full(100, 0.5))})
    for after, points in ((None, 100), (12_345, 100), (69_900, 20), (None, 1000)):
        (a,) = metrics.read(engine, run_id, points=points, after_step=after)
        first = 0 if after is None else after + 1
        shown = np.asarray(a.values)
        assert a.count == 73_000 - first
        assert len(a.steps) <= points
        assert (a.steps[0], a.steps[-1]) == (first, 72_999)
        inside = [(step, value) for step, value in zip(a.steps, a.values, strict=True) if step < 70_000]
        np.testing.assert_array_equal([value for _, value in inside], values[[step for step, _ in inside]])
        assert np.nanmin(shown) == np.nanmin(values[first:])
        assert np.nanmax(shown) == max(0.5, np.nanmax(values[first:]))
