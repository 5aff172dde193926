"""Activation stores: the same forward numbers to the bit, and the gradients that each promises."""

import dataclasses

import pytest
import torch

from laser_core import memory
from laser_core.config import (
    AsiStore,
    CheckpointStore,
    LaserCodedStore,
    LaserFusedStore,
    LaserStore,
    NoneStore,
    QuantStore,
    RandomStore,
)
from laser_core.layers import Attention, Linear
from laser_core.stores import make_store

MODELS = [
    {"layers": 2},
    {"layers": 1, "positions": "learned", "heads": 4},
    {"layers": 2, "block": "mlp", "puzzle_embedding": 40},
]
STORES = [
    CheckpointStore(),
    CheckpointStore(unit="call"),
    LaserStore(energy=0.8),
    LaserStore(rank=5, adapt=False),
    LaserFusedStore(energy=0.8),
    LaserFusedStore(rank=5, adapt=False),
    LaserFusedStore(energy=1.0),
    LaserFusedStore(budget_fraction=0.3),
    LaserFusedStore(reuse=10.0),
    LaserCodedStore(energy=0.9),
    LaserCodedStore(keep="call"),
    LaserCodedStore(codes="variable"),
    LaserCodedStore(codes="variable", keep="call"),
    LaserCodedStore(budget_fraction=0.1),
    LaserCodedStore(energy=1.0),
    QuantStore(),
    QuantStore(bits=8, group=32),
    AsiStore(rank=5),
    RandomStore(rank=5),
]


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("store", STORES, ids=str)
def test_forward_numbers_are_the_same_to_the_bit(trial, store, model):
    t, eager = trial(store, **model), trial(**model)
    for _ in range(2):  # the first step keeps everything, the second uses the bases made from it
        (ours, loss), (theirs, expected) = t.forward(), eager.forward()
        assert torch.equal(ours.logits_BSV, theirs.logits_BSV)
        assert torch.equal(ours.halt_logit_B, theirs.halt_logit_B)
        assert torch.equal(loss, expected)
        t.step()


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("unit", ["block", "call"])
def test_checkpoint_gives_the_same_gradient_to_the_bit(trial, unit, model):
    t, eager = trial(CheckpointStore(unit=unit), **model), trial(**model)
    t.step()
    eager.step()
    for name, gradient in eager.gradients().items():
        assert torch.equal(t.gradients()[name], gradient), name


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize(
    "store",
    [
        LaserStore(energy=1.0),
        LaserFusedStore(energy=1.0),
        LaserCodedStore(energy=1.0),
        AsiStore(rank=256),
    ],
    ids=str,
)
def test_full_rank_gives_the_uncompressed_gradient(trial, store, model):
    t, eager = trial(store, **model), trial(**model)
    for _ in range(2):
        t.step(0.01)
        eager.step(0.01)
        for name, gradient in eager.gradients().items():
            assert _relative_error(t.gradients()[name], gradient) <= 3e-5, name


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_fused_in_a_complete_basis_gives_the_uncompressed_gradient(trial, model):
    """The same through codes: a basis as wide as the site loses nothing, so every path of the packed backward is right."""
    t, eager = trial(LaserFusedStore(rank=5, adapt=False), **model), trial(**model)
    t.step()
    for tracker in t.model.store.trackers.values():
        tracker.basis = torch.linalg.qr(torch.randn(32, 32, generator=torch.Generator().manual_seed(0))).Q.contiguous()
    t.step()
    eager.step()
    for name, gradient in eager.gradients().items():
        assert _relative_error(t.gradients()[name], gradient) <= 1e-5, name


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_laser_weight_gradient_is_the_exact_one_projected(trial, model):
    t, eager = trial(LaserStore(rank=5, adapt=False), **model), trial(**model)
    t.step()
    t.step()
    eager.step()
    linear = {name: layer for name, layer in t.model.named_modules() if isinstance(layer, Linear)}
    assert sum(layer.site in t.model.store.trackers for layer in linear.values()) == len(linear) - (
        0 if model.get("block") == "mlp" else model["layers"]
    )
    for name, gradient in eager.gradients().items():
        layer = linear.get(name.removesuffix(".weight"))
        tracker = t.model.store.trackers.get(layer.site) if layer else None
        if tracker:
            assert tracker.basis.shape == (tracker.width, 5)
            gradient = gradient @ tracker.basis @ tracker.basis.T
        torch.testing.assert_close(t.gradients()[name], gradient, rtol=1e-5, atol=1e-5, msg=name)


def test_error_falls_with_rank(trial):
    eager = trial()
    eager.step()
    for kind in (LaserStore, LaserFusedStore):
        errors = []
        for rank in (2, 6, 12, 20, 26):
            t = trial(kind(rank=rank, adapt=False))
            t.step()
            t.step()
            errors.append(
                sum((t.gradients()[name] - gradient).square().sum() for name, gradient in eager.gradients().items())
            )
        assert errors == sorted(errors, reverse=True), kind.__name__


def test_beyond_break_even_a_site_is_kept_in_full(trial):
    """9 × 1 rows × 3 calls = 27 rows of width 32: codes of rank k and their basis cost (27 + 32)·k numbers."""
    for rank, packed in ((14, True), (15, False)):
        t = trial(LaserStore(rank=rank, adapt=False), batch_size=1)
        traces = {trace.site: trace for trace in t.step()}
        tracker = t.model.store.trackers["layers.0.qkv"]
        assert (tracker.basis is not None) == packed
        assert traces["layers.0.qkv"].event == ("init" if packed else "fallback")
        assert traces["layers.0.qkv"].saved_bytes == ((27 + 32) * rank if packed else 27 * 32) * 4
        t.step()


def test_attentions_output_is_not_coded_since_attention_keeps_it(trial):
    t = trial(LaserStore())
    t.step()
    attention = next(layer for layer in t.model.modules() if isinstance(layer, Attention))
    assert attention.outer.site not in t.model.store.trackers


@pytest.mark.parametrize(
    "store",
    [
        LaserStore(energy=0.9, update_every=2),
        LaserStore(budget_fraction=0.4, update_every=2),
        LaserFusedStore(update_every=2),
        LaserCodedStore(energy=0.99, update_every=2),
        LaserCodedStore(energy=0.99, codes="variable", update_every=2),
        LaserCodedStore(energy=0.99, reuse=10.0, update_every=2),
        LaserCodedStore(budget_fraction=0.1, update_every=2),
    ],
    ids=str,
)
def test_bases_change_between_steps_only_and_training_resumes_to_the_bit(trial, store):
    straight, broken = trial(store), trial(store)
    straight_traces, broken_traces = [], []
    for step in range(1, 9):
        straight_traces += straight.step(0.02)
        if step == 5:
            model = broken.model
            model.store, state = make_store(store), model.store.state_dict()
            model.store.load_state_dict(state)
        broken_traces += broken.step(0.02)
    assert straight_traces == broken_traces
    assert len({trace.step for trace in straight_traces}) >= 4
    for mine, other in zip(straight.model.parameters(), broken.model.parameters(), strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize("store", [LaserStore(energy=0.9), LaserCodedStore(), AsiStore(rank=4)], ids=lambda s: s.kind)
def test_state_lies_in_memory_as_it_comes_from_a_checkpoint(trial, store):
    """Of other layouts, products have other last bits on some processors."""
    t = trial(store)
    for _ in range(3):
        t.step(0.02)
    tensors = [x for x in t.model.store.state_dict().values() if torch.is_tensor(x)]
    assert tensors
    assert all(x.is_contiguous() for x in tensors)


@pytest.mark.parametrize("store", [LaserStore(), LaserFusedStore(rank=5)], ids=lambda s: s.kind)
def test_no_gradient_no_trace(trial, store):
    """Evaluation between steps, or within one, shows the trackers nothing."""
    looked, blind = trial(store, latent_steps=1), trial(store, latent_steps=1)
    for _ in range(3):
        with torch.no_grad():
            looked.loss()
        assert looked.step(0.01) == blind.step(0.01)


CODED = [
    (LaserCodedStore(energy=0.99), LaserCodedStore(energy=0.999), LaserCodedStore(energy=0.99999)),
    tuple(LaserCodedStore(energy=energy, codes="variable") for energy in (0.99, 0.999, 0.99999)),
    (LaserCodedStore(energy=0.9, keep="call"), LaserCodedStore(energy=0.99, keep="call"), LaserCodedStore(keep="call")),
    (LaserCodedStore(budget_fraction=0.2), LaserCodedStore(budget_fraction=0.3), LaserCodedStore(budget_fraction=0.5)),
    (QuantStore(bits=4, group=128), QuantStore(bits=4, group=16), QuantStore(bits=8, group=16)),
]


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("coarse_to_fine", CODED, ids=lambda stores: str(stores[0]))
def test_finer_codes_give_a_better_gradient(trial, model, coarse_to_fine):
    eager = trial(**model)
    eager.step()
    errors = []
    for store in coarse_to_fine:
        t = trial(store, **model)
        t.step()
        t.step()
        ours, exact = t.gradients(), eager.gradients()
        errors.append(sum(float((ours[name] - exact[name]).square().sum()) for name in exact))
    assert errors == sorted(errors, reverse=True)
    assert 0 < errors[-1] <= 0.7 * errors[0]


@pytest.mark.parametrize(
    "store",
    [LaserCodedStore(), LaserCodedStore(codes="variable"), LaserCodedStore(budget_fraction=0.1), QuantStore()],
    ids=str,
)
def test_rounding_is_drawn_anew_at_every_step_and_the_same_from_one_seed(trial, store):
    t, again = trial(store), trial(store)
    seen = []
    for _ in range(3):
        t.step()
        again.step()
        assert all(torch.equal(x, again.gradients()[name]) for name, x in t.gradients().items())
        seen.append(torch.cat([gradient.flatten() for gradient in t.gradients().values()]))
    assert not torch.equal(seen[1], seen[2])


@pytest.mark.parametrize("block", ["attention", "mlp"])
@pytest.mark.parametrize(
    "store",
    [
        LaserFusedStore(energy=0.99),
        LaserCodedStore(),
        LaserCodedStore(keep="call"),
        LaserCodedStore(codes="variable"),
        QuantStore(bits=8),
    ],
    ids=lambda store: f"{store.kind} {getattr(store, 'keep', '')}",
)
def test_backward_in_bfloat16_rounds_the_same_gradient_and_leaves_forward_alone(trial, store, block):
    wide, narrow = (trial(dataclasses.replace(store, backward=name), block=block) for name in ("same", "bfloat16"))
    for _ in range(2):
        wide.step()
        narrow.step()
    assert torch.equal(wide.loss(), narrow.loss())
    gradients = narrow.gradients()
    for name, gradient in wide.gradients().items():
        if not gradient.any():
            continue
        assert gradients[name].dtype == torch.float32, name
        assert torch.cosine_similarity(gradient.flatten(), gradients[name].flatten(), 0) > 0.995, name
    assert any(not torch.equal(gradient, gradients[name]) for name, gradient in wide.gradients().items())


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.4])
@pytest.mark.parametrize("kind", [LaserStore, LaserFusedStore, LaserCodedStore])
def test_a_budget_is_kept_and_used(trial, kind, fraction):
    t = trial(kind(budget_fraction=fraction), batch_size=16)
    held = sum(trace.saved_bytes for trace in t.step())
    trackers = t.model.store.trackers.values()
    full = sum(tracker.rows * tracker.width for tracker in trackers) * 4
    assert 0.7 * fraction * full <= held <= 1.08 * fraction * full


def test_codes_of_variable_length_hold_less_at_a_better_gradient(trial):
    eager = trial(batch_size=16)
    eager.step()
    held, errors = {}, {}
    for codes in ("fixed", "variable"):
        t = trial(LaserCodedStore(codes=codes), batch_size=16)
        t.step()
        with memory.recorded(t.model) as account:
            t.step()
        held[codes] = sum(held for (_, kind), held in memory.totals(account).items() if kind == "code")
        errors[codes] = sum(float((t.gradients()[name] - x).square().sum()) for name, x in eager.gradients().items())
    assert held["variable"] <= 0.9 * held["fixed"]
    assert errors["variable"] <= errors["fixed"]


def test_a_budget_goes_where_spectra_need_it(trial):
    """The site with the flatter spectrum gets the higher rank."""
    t = trial(LaserFusedStore(budget_fraction=0.4), batch_size=16)
    t.step()
    by_rank = sorted(t.model.store.trackers.values(), key=lambda tracker: tracker.rank)
    assert by_rank[0].rank < by_rank[-1].rank
    lowest = [tracker.known_shares[tracker.rank - 1] for tracker in by_rank]
    assert max(lowest) <= 3 * min(lowest)  # one price: the last directions that got in are worth about the same


def test_each_call_has_a_basis_of_its_own_in_asi(trial):
    t = trial(AsiStore(rank=3))
    t.step()
    state = t.model.store.state_dict()
    assert {name.rpartition("/")[2] for name in state} == {"1", "2", "3"}  # two latent steps and the answer's
    for basis in state.values():
        torch.testing.assert_close(basis.T @ basis, torch.eye(3), rtol=0, atol=1e-5)
    energy = []
    for _ in range(8):  # at rest, iterations find the leading subspace
        t.step()
        energy.append(float(t.gradients()["layers.0.mixer.inner.weight"].norm()))
    assert energy[-1] == pytest.approx(energy[-2], rel=1e-3)


def test_a_state_of_another_kind_is_refused():
    with pytest.raises(ValueError, match=r"store state: ActivationStore has none, got \['layers.0.qkv/rank'\]"):
        make_store(NoneStore()).load_state_dict({"layers.0.qkv/rank": 3})
    with pytest.raises(ValueError, match=r"store state: site 'layers.0.qkv' lacks 'width'"):
        make_store(LaserStore()).load_state_dict({"layers.0.qkv/rank": 3})


def _relative_error(tensor, expected):
    return float((tensor - expected).norm() / expected.norm().clamp_min(1e-30))
