"""Many submits at once: each accepted once, none lost, none run twice, and reading goes on meanwhile.

The full size (200 runs, 8 clients) is `python -m benchmarks.crowd`; its result is docs/results/crowd.json.
"""

from __future__ import annotations

import pytest

from benchmarks.crowd import submit_and_watch
from tests.e2e.platform import Platform


@pytest.mark.slow
def test_a_crowd_of_submits(platform: Platform) -> None:
    report = submit_and_watch(platform, runs=16, clients=8)
    assert report["accepted"] == report["distinct_runs"] == report["succeeded"] == 16
    assert report["attempts_most"] == 1
    assert report["doubled_points"] == report["missing_points"] == 0
    assert report["reads"] > 0
    assert report["errors"] == []
