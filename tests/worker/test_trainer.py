"""What a training process tells of its memory."""

from __future__ import annotations

import torch

from laser_core.budget import Budget
from laser_core.events import Event, Memory, Peak, Progress, Started
from worker.trainer import Gauge

MIB = 2**20
MEMORY = Memory(step=1, saved_bytes=0, eager_bytes=0, sites=())


def test_the_peak_is_told_after_a_whole_step_that_was_counted():
    """Until then what is reserved must stay: the weights alone are no measure, and others would move in."""
    with Budget(100 * MIB) as budget:
        gauge = Gauge(budget)
        assert told(gauge, Started(0, 9, "cpu", 0, {}), MEMORY, Progress(1, 9, 0.1)) == []
        step(budget)
        assert told(gauge, Progress(2, 9, 0.1)) == [Peak(2, 4 * MIB)]


def test_a_resumed_run_tells_it_after_its_first_step():
    with Budget(100 * MIB) as budget:
        gauge = Gauge(budget)
        assert told(gauge, Started(5, 9, "cpu", 0, {}), Progress(5, 9, 0.1)) == []
        step(budget)
        assert told(gauge, MEMORY, Progress(6, 9, 0.1)) == [Peak(6, 4 * MIB)]


def told(gauge: Gauge, *events: Event) -> list[Peak]:
    return [peak for event in events for peak in gauge.read(event)]


def step(budget: Budget) -> None:
    """Holds 4 MiB for backward, and lets go."""
    weight = torch.ones(MIB, requires_grad=True)
    weight.square().sum().backward()
    assert budget.peak == 4 * MIB
