"""The model's own promises; its equality with the official numbers is in test_parity.py."""

import dataclasses
import math

import pytest
import torch

from laser_core.config import ModelConfig, NoneStore
from laser_core.layers import SelfAttention, swiglu_width, truncated_normal
from laser_core.loss import act_loss, stablemax_nll
from laser_core.model import TRM, Batch, Outputs
from laser_core.stores import make_store


def test_weights_come_from_the_generator_alone():
    random = torch.get_rng_state()
    models = [
        TRM(ModelConfig(width=32), 7, 9, store=make_store(NoneStore()), generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    ]
    first, same, other = (torch.cat([p.flatten() for p in model.parameters()]) for model in models)
    assert torch.equal(random, torch.get_rng_state())
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_initialisation():
    weights = truncated_normal((1000, 1000), 0.5, torch.Generator().manual_seed(0))
    assert weights.std().item() == pytest.approx(0.5, rel=0.01)
    assert weights.abs().max() <= 2 * 0.5 / 0.8796
    model = TRM(ModelConfig(width=64), 7, 9, store=make_store(NoneStore()))
    assert not model.halt_head.weight.any()
    assert model.halt_head.bias.tolist() == [-5, -5]
    assert model.token_embedding.weight.std().item() == pytest.approx(1 / 8, rel=0.15)


@pytest.mark.parametrize(("width", "expansion", "expected"), [(64, 4, 256), (96, 4, 256), (97, 4, 512), (512, 4, 1536)])
def test_swiglu_width(width, expansion, expected):
    assert swiglu_width(width, expansion) == expected


def test_only_halted_rows_start_anew(trial):
    model, batch = (t := trial()).model, t.batch
    carry, _ = model.supervision_step(model.initial_carry(3), batch)
    assert carry.steps_B.tolist() == [1, 1, 1]
    assert not carry.halted_B.any()
    other = Batch((batch.inputs_BS + 1) % 7, batch.labels_BS, batch.puzzles_B)
    halted = torch.tensor([False, True, False])
    then, _ = model.supervision_step(dataclasses.replace(carry, halted_B=halted), other)
    fresh, _ = model.supervision_step(model.initial_carry(3), other)
    going_on, _ = model.supervision_step(carry, batch)
    assert then.steps_B.tolist() == [2, 1, 2]
    assert torch.equal(then.data.inputs_BS[1], other.inputs_BS[1])
    assert torch.equal(then.data.inputs_BS[[0, 2]], batch.inputs_BS[[0, 2]])
    torch.testing.assert_close(then.answer_BLD[1], fresh.answer_BLD[1])
    torch.testing.assert_close(then.answer_BLD[[0, 2]], going_on.answer_BLD[[0, 2]])


def test_no_gradient_crosses_supervision_steps(trial):
    t = trial()
    carry, outputs = t.model.supervision_step(t.model.initial_carry(3), t.batch)
    assert not carry.answer_BLD.requires_grad
    assert not carry.latent_BLD.requires_grad
    assert outputs.logits_BSV.requires_grad


def test_gradient_of_the_batchs_puzzle_rows(trial):
    t = trial(puzzle_embedding=40)  # 40 numbers fill one position of 32 and part of a second
    assert t.model.puzzle_positions == 2
    outputs, loss = t.forward()
    loss.backward()
    assert outputs.logits_BSV.shape == (3, 9, 7)
    assert outputs.puzzle_rows_BE.grad.shape == (3, 40)
    assert outputs.puzzle_rows_BE.grad.abs().min() > 0
    assert trial().forward()[0].puzzle_rows_BE is None


def test_attention_sees_all_positions_and_rope_only_their_distance():
    generator = torch.Generator().manual_seed(0)
    attention = SelfAttention(16, 2, 8, rope=True)
    query, key = torch.randn(2, 1, 1, 1, 8, generator=generator)
    rotated = [attention._rotated(x.expand(1, 1, 8, 8)) for x in (query, key)]
    scores = (rotated[0] @ rotated[1].mT)[0, 0]
    for offset in range(-7, 8):
        diagonal = scores.diagonal(offset)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))


def test_stablemax_against_its_definition():
    logits = torch.tensor([[-3.0, 0.0, 2.0]])
    weights = [1 / 4, 1.0, 3.0]
    expected = [-math.log(weight / sum(weights)) for weight in weights]
    losses = stablemax_nll(logits.expand(3, 3), torch.arange(3))
    assert losses.dtype == torch.float64
    torch.testing.assert_close(losses, torch.tensor(expected, dtype=torch.float64))


def test_loss_weighs_puzzles_alike_and_ignores_unlabelled_cells():
    logits = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[1, 2, 3, 4], [0, -100, -100, -100]])
    losses = act_loss(Outputs(logits, torch.tensor([0.3, -0.2]), None), labels)
    nll = stablemax_nll(logits, labels.clamp_min(0))
    torch.testing.assert_close(losses.lm, nll[0].mean() + nll[1, 0])
    torch.testing.assert_close(losses.total, losses.lm + 0.5 * losses.halt)


def test_exactness_is_every_labelled_cell_right():
    labels = torch.tensor([[1, 2], [1, -100], [1, 2]])
    logits = torch.nn.functional.one_hot(torch.tensor([[1, 2], [1, 0], [1, 3]]), 5).float()
    losses = act_loss(Outputs(logits, torch.zeros(3), None), labels)
    assert losses.exact_B.tolist() == [True, True, False]
    assert losses.cell_accuracy_B.tolist() == [1, 1, 0.5]
