"""Saved bytes are what the formula says, to the byte."""

import pytest
import torch

from laser_core import memory
from laser_core.config import CheckpointStore, LaserCodedStore, LaserFusedStore, LaserStore, NoneStore, QuantStore

SHAPES = [
    {"layers": 1},
    {"layers": 2, "batch_size": 5, "seq_len": 16, "latent_steps": 3, "heads": 4},
    {"layers": 3, "width": 48, "positions": "none"},
    {"positions": "learned", "puzzle_embedding": 40},
    {"block": "mlp", "layers": 2, "puzzle_embedding": 32, "puzzle_positions": 3},
]
STORES = [
    NoneStore(),
    LaserStore(rank=6, adapt=False),
    LaserStore(energy=0.8),
    LaserStore(energy=1.0),
    LaserFusedStore(rank=6, adapt=False),
    LaserFusedStore(energy=0.9),
    LaserFusedStore(energy=1.0),
    LaserCodedStore(energy=0.9),
    LaserCodedStore(energy=0.99, keep="call"),
    LaserCodedStore(budget_fraction=0.1),
    QuantStore(),
    QuantStore(bits=8, group=128),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("store", STORES, ids=str)
def test_saved_bytes_equal_the_formula(trial, store, shape):
    t = trial(store, **shape)
    t.step()  # makes the bases
    with memory.recorded(t.model) as account:
        loss = t.loss()
    assert dict(memory.totals(account)) == dict(memory.predicted(t.model, len(t.batch.inputs_BS)))
    del loss


def test_bytes_of_variable_codes_are_foretold_for_normal_variables(trial):
    t = trial(LaserCodedStore(codes="variable"), batch_size=16)
    t.step()
    with memory.recorded(t.model) as account:
        loss = t.loss()
    assert memory.predicted(t.model, 16).total() == pytest.approx(memory.totals(account).total(), rel=0.1)
    del loss


@pytest.mark.parametrize("store", [NoneStore(), CheckpointStore(), LaserStore(), LaserFusedStore(rank=4)], ids=str)
def test_measuring_leaves_no_trace(trial, store):
    measured, plain = trial(store), trial(store)
    random = torch.get_rng_state()
    for _ in range(3):
        measured.step(0.01)
        plain.step(0.01)
        report = memory.measure(measured.model, measured.loss, step=1)
    assert torch.equal(random, torch.get_rng_state())
    assert report.saved_bytes == sum(site.saved_bytes for site in report.sites)
    for mine, other in zip(measured.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(mine, other)
    mine, other = measured.model.store.state_dict(), plain.model.store.state_dict()
    assert mine.keys() == other.keys()
    assert all(torch.equal(torch.as_tensor(mine[key]), torch.as_tensor(other[key])) for key in mine)


def test_eager_bytes_are_those_of_the_none_store(trial):
    eager = trial()
    expected = memory.measure(eager.model, eager.loss, step=1)
    assert expected.saved_bytes == expected.eager_bytes
    for store in (CheckpointStore(), CheckpointStore(unit="call"), LaserStore(rank=4), LaserFusedStore(rank=4)):
        t = trial(store)
        t.step()
        report = memory.measure(t.model, t.loss, step=1)
        assert report.eager_bytes == expected.eager_bytes
        assert report.saved_bytes < report.eager_bytes
        assert memory.measure(t.model, t.loss, step=1, eager_bytes=report.eager_bytes) == report


def test_checkpointing_keeps_the_inputs_of_blocks(trial):
    t = trial(CheckpointStore(), batch_size=3, seq_len=9, width=32, layers=2, latent_steps=2)
    report = memory.measure(t.model, t.loss, step=1)
    inputs = 3 * 9 * 32 * 4
    kept = {(site.site, site.recursion_step): site.saved_bytes for site in report.sites if site.kind == "checkpoint"}
    assert kept == {(f"layers.{block}", step): inputs for block in (0, 1) for step in (0, 1, 2)}


def test_a_forward_pass_that_fails_leaves_the_model_as_it_was(trial):
    t = trial(LaserStore())
    store = t.model.store

    def fails():
        t.loss()
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        memory.eager_account(t.model, fails)
    assert t.model.store is store
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in t.model.modules())
