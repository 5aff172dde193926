"""Step times: single ones where the host keeps pace, means where the device runs behind it."""

import pytest

from laser_core import clock
from laser_core.clock import StepClock


def run(monkeypatch: pytest.MonkeyPatch, durations: list[float], *, behind: bool) -> StepClock:
    steps, now = StepClock(behind=behind), [0.0]
    monkeypatch.setattr(clock.time, "perf_counter", lambda: now[0])
    for duration in durations:
        with steps.step():
            now[0] += duration
    return steps


def test_the_first_steps_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, [9.0] * 5, behind=False).median() is None
    steps = run(monkeypatch, [9.0] * 5 + [1.0, 2.0, 4.0], behind=False)
    assert (steps.median(), steps.median(1), steps.median(0)) == (2.0, 4.0, None)


def test_where_the_device_runs_behind_steps_share_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = run(monkeypatch, [9.0] * 5 + [0.1, 0.1, 2.8], behind=True)
    assert steps.median() is None
    steps.settle()
    assert steps.median() == pytest.approx(1.0)
