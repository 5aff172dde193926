"""Batches drawn ahead are those drawn on demand, from any position."""

import gc
import threading

import pytest
import torch

from laser_core.ahead import Ahead
from laser_core.model import Batch


def draw(generator: torch.Generator) -> Batch:
    inputs, labels = (torch.randint(0, 9, (4, 3), generator=generator) for _ in range(2))
    return Batch(inputs, labels, torch.zeros(4, dtype=torch.int64))


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def numbers(ahead: Ahead, count: int) -> list[list[list[int]]]:
    return [ahead.next().inputs_BS.tolist() for _ in range(count)]


def test_they_come_as_if_drawn_on_demand() -> None:
    generator = seeded()
    assert numbers(Ahead(draw, seeded()), 9) == [draw(generator).inputs_BS.tolist() for _ in range(9)]


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_any_position_can_be_gone_on_from(taken: int) -> None:
    first, second = Ahead(draw, seeded()), Ahead(draw, seeded())
    numbers(first, taken)
    numbers(second, 2)
    position = first.get_state().clone()
    expected = numbers(first, 6)
    for ahead in (second, first):
        ahead.set_state(position)
        assert torch.equal(ahead.get_state(), position)
        assert numbers(ahead, 6) == expected


def test_what_goes_wrong_in_drawing_is_raised() -> None:
    def fail(generator: torch.Generator) -> Batch:
        raise ValueError("no such puzzle")

    with pytest.raises(ValueError, match="no such puzzle"):
        Ahead(fail, seeded()).next()


def test_no_thread_outlives_its_owner() -> None:
    others = set(threading.enumerate())  # of trainers that earlier tests still hold
    ahead = Ahead(draw, seeded())
    ahead.next()
    threads = set(threading.enumerate()) - others
    assert threads
    del ahead
    gc.collect()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()
