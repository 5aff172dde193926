"""When the database was closed, and what of a wait is charged to that."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from benchmarks.chaos.watch import Watch, overlap_s
from store import database


def test_the_watch_sees_when_nobody_can_write(tmp_path):
    url = f"sqlite:///{tmp_path / 'laser.db'}"
    engine = database.connect(url)
    with Watch(url) as watch:
        time.sleep(0.6)
        with ExitStack() as held:
            held.enter_context(database.write(engine))
            began = time.time()
            time.sleep(1.8)
        ended = time.time()
        time.sleep(1.5)
    engine.dispose()
    ((start, end),) = watch.closed
    assert began - 0.1 <= start <= began + 0.5
    assert ended - 0.1 <= end <= ended + 0.5


def test_a_span_counts_as_far_as_it_lies_within_the_wait():
    spans = [(2.0, 12.0), (20.0, 25.0), (90.0, 99.0)]
    assert overlap_s(0, 38, spans) == 15
    assert overlap_s(10, 22, spans) == pytest.approx(4)
    assert overlap_s(30, 20, spans) == 0
