"""The optimiser's parts against their formulas."""

import math

import pytest
import torch
from torch import nn

from laser_core.config import TrainingConfig
from laser_core.optim import average, rate_factor, sign_sgd


def test_the_rate_rises_then_holds_or_falls_to_a_tenth() -> None:
    cosine = TrainingConfig(steps=100, warmup_steps=20)
    assert [rate_factor(cosine, step) for step in (1, 10, 20)] == [0.05, 0.5, 1.0]
    assert rate_factor(cosine, 60) == pytest.approx(0.1 + 0.9 * 0.5)
    assert rate_factor(cosine, 100) == pytest.approx(0.1)
    constant = TrainingConfig(steps=100, warmup_steps=20, schedule="constant")
    assert [rate_factor(constant, step) for step in (10, 20, 100)] == [0.5, 1.0, 1.0]


@pytest.mark.parametrize("warmup", [0, 5, 1000])
def test_every_rate_is_a_share(warmup: int) -> None:
    config = TrainingConfig(steps=10, warmup_steps=warmup)
    assert all(0 < rate_factor(config, step) <= 1 and math.isfinite(rate_factor(config, step)) for step in range(1, 11))


def test_the_average_moves_by_one_minus_decay() -> None:
    averaged, model = nn.Linear(2, 2), nn.Linear(2, 2)
    wanted = [
        0.9 * a.detach() + 0.1 * m.detach() for a, m in zip(averaged.parameters(), model.parameters(), strict=True)
    ]
    average(averaged, model, 0.9)
    for got, want in zip(averaged.parameters(), wanted, strict=True):
        torch.testing.assert_close(got.detach(), want)
    average(averaged, model, 0.0)
    assert torch.equal(averaged.weight, model.weight)


def test_sign_sgd_moves_the_batchs_rows_alone_by_their_summed_gradient() -> None:
    table = torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    gradient = torch.tensor([[1.0, -3.0], [0.5, 0.0], [-4.0, 1.0]])  # rows 2, 0, 2: the first and last add up
    sign_sgd(table, torch.tensor([2, 0, 2]), gradient, rate=0.1, weight_decay=0.5)
    torch.testing.assert_close(table, torch.tensor([[0.85, 0.95], [2.0, 2.0], [2.95, 2.95]]))
