"""Recursion steps that leave a puzzle where it was refer to the record of the last that moved it."""

import dataclasses

import pytest
import torch

from laser_core import memory
from laser_core.config import LaserCodedStore, LaserFusedStore, ModelConfig, NoneStore
from laser_core.events import Memory
from laser_core.loss import act_loss
from laser_core.model import TRM, Batch
from laser_core.stores import make_store
from laser_core.stores.fused import Part, Record
from laser_core.train import train

ATTENTION = {"layers": 2}
MIXER = {"layers": 1, "block": "mlp", "puzzle_embedding": 40}
AT_REST = 100  # supervision steps after which these small recursions have come to rest
STEPS = 4


class Lab:
    """A model whose puzzles are at rest, but for those that are started anew."""

    def __init__(self, store, fresh=(), puzzles=6, **model):
        config = ModelConfig(**{"width": 32, "heads": 2, "latent_steps": STEPS, "cycles": 1, "expansion": 1.0} | model)
        generator = torch.Generator().manual_seed(5)
        self.model = TRM(config, 7, 9, 4, store=make_store(NoneStore()), generator=generator)
        torch.nn.init.normal_(self.model.halt_head.weight, generator=generator)
        with torch.no_grad():  # weights so small that the recursion contracts
            for weight in self.model.layers.parameters():
                weight *= 0.1
        inputs, labels = (torch.randint(0, 7, (puzzles, 9), generator=generator) for _ in range(2))
        self.batch = Batch(inputs, labels, torch.arange(puzzles) % 4)
        self.carry = self.model.initial_carry(puzzles)
        with torch.no_grad():
            for _ in range(AT_REST):
                self.carry = self.model.supervision_step(self.carry, self.batch)[0]
        halted_B = torch.zeros(puzzles, dtype=torch.bool)
        halted_B[list(fresh)] = True
        self.carry = dataclasses.replace(self.carry, halted_B=halted_B)
        self.model.store = make_store(store)
        self.held: list[list[Part]] = []
        if hold := getattr(self.model.store, "hold", None):
            self.model.store.hold = lambda *what: self.held.append(hold(*what)) or self.held[-1]

    def loss(self):
        self.held.clear()
        carry, outputs = self.model.supervision_step(self.carry, self.batch)
        return act_loss(outputs, carry.data.labels_BS).total

    def gradients(self):
        """Of the second step, whose bases come from the first."""
        for step in (1, 2):
            self.model.zero_grad()
            self.model.store.begin_step(step)
            self.loss().backward()
            self.model.store.end_step()
        return {name: weight.grad for name, weight in self.model.named_parameters()}


def _relative_error(ours, theirs):
    a, b = (torch.cat([x.flatten().double() for x in gradients.values()]) for gradients in (ours, theirs))
    return float((a - b).norm() / b.norm())


STORES = [
    LaserFusedStore(energy=0.99),
    LaserCodedStore(energy=0.99),
    LaserCodedStore(energy=0.99, codes="variable"),
    LaserCodedStore(energy=0.99, keep="call"),
]


@pytest.mark.parametrize("model", [ATTENTION, MIXER], ids=str)
@pytest.mark.parametrize("store", STORES, ids=str)
def test_at_rest_all_latent_steps_share_one_record(store, model):
    lab = Lab(dataclasses.replace(store, reuse=0.3), **model)
    lab.gradients()
    assert len(lab.held) == STEPS + 1
    records = [[id(part.record) for part in parts] for parts in lab.held]
    assert all(len(parts) == 1 for parts in records)
    assert len({parts[0] for parts in records[:STEPS]}) == 1
    assert records[-1] != records[0], "the answer is another state"


@pytest.mark.parametrize("model", [ATTENTION, MIXER], ids=str)
@pytest.mark.parametrize("fresh", [(), (2,), (0, 3), (0, 1, 2, 3, 5)], ids=str)
@pytest.mark.parametrize("keep", ["sublayer", "call"])
def test_the_gradient_is_the_exact_one_where_those_that_move_are_held(keep, fresh, model):
    """A few puzzles move, farther than is allowed, among others that don't; the basis loses next to nothing."""
    store = LaserFusedStore(energy=0.999999)
    lab = Lab(store, fresh, **model)
    lab.model.store.keeps, lab.model.store.reuse = keep, 0.3
    ours, exact = lab.gradients(), Lab(NoneStore(), fresh, **model).gradients()
    sizes = [[len(part.puzzles) for part in parts] for parts in lab.held]
    assert sizes[1:STEPS] == [[6 - len(fresh), len(fresh)] if 0 < len(fresh) <= 3 else [6]] * (STEPS - 1)
    assert _relative_error(ours, exact) <= 1e-3


@pytest.mark.parametrize("model", [ATTENTION, MIXER], ids=str)
def test_a_step_is_reused_within_what_may_be_lost(model):
    """The error that reuse adds to the gradient falls with it; a puzzle moves some way while it comes to rest."""
    exact, errors = Lab(NoneStore(), (1, 2), **model).gradients(), []
    for reuse in (0.0, 0.01, 10.0):
        lab = Lab(LaserFusedStore(energy=0.999, reuse=reuse), (1, 2), **model)
        errors.append(_relative_error(lab.gradients(), exact))
    assert errors[1] == pytest.approx(errors[0], rel=0.1)
    assert errors[2] > errors[0]


def test_what_is_summed_is_what_every_call_would_give():
    """A record's weight gradient is linear in the calls' gradients: sums over calls before the product, or after it."""
    generator = torch.Generator().manual_seed(0)
    record = Record(4, [])
    x_RLD = torch.randn(4, 5, 3, generator=generator)
    expected = torch.zeros(2, 3)
    for rows in (torch.tensor([1, 2]), None, torch.tensor([3])):
        gradient = torch.randn(4 if rows is None else len(rows), 5, 2, generator=generator)
        expected += torch.einsum("rlo,rld->od", gradient, x_RLD if rows is None else x_RLD[rows])
        record.add(0, rows, (gradient.clone(), gradient.clone()))
    for total in record.sums[0]:
        torch.testing.assert_close(torch.einsum("rlo,rld->od", total, x_RLD), expected)


@pytest.mark.parametrize("half", ["backward", "autocast"])
@pytest.mark.parametrize("keep", ["sublayer", "call"])
def test_shared_work_in_bfloat16(keep, half):
    """Its sums are as near as its products: three digits."""
    store = LaserFusedStore(energy=0.999999, reuse=0.3)
    lab = Lab(store, (1,), **ATTENTION)
    lab.model.store.keeps, lab.model.store.backward_in_bfloat16 = keep, half == "backward"
    exact = Lab(NoneStore(), (1,), **ATTENTION).gradients()
    with torch.autocast("cpu", torch.bfloat16, enabled=half == "autocast"):
        ours = lab.gradients()
    assert any(part.record.calls == STEPS for parts in lab.held for part in parts)
    assert _relative_error(ours, exact) <= 0.03


def test_nothing_is_held_of_steps_at_rest():
    lab = Lab(LaserCodedStore(energy=0.99, reuse=0.3), **ATTENTION)
    lab.gradients()
    held = memory.measure(lab.model, lab.loss, 3)
    assert {site.recursion_step for site in held.sites if site.kind in ("code", "norm")} == {0, STEPS}
    shared = _of_recursion(held)
    lab.model.store.reuse = 0.0
    assert _of_recursion(memory.measure(lab.model, lab.loss, 3)) == shared * (STEPS + 1) / 2


def _of_recursion(held):
    return sum(site.saved_bytes for site in held.sites if site.kind in ("code", "norm"))


def test_between_forward_and_backward_the_store_keeps_no_reference():
    lab = Lab(LaserCodedStore(energy=0.99, reuse=0.3), **ATTENTION)
    lab.gradients()
    lab.loss()
    assert lab.model.store._parts == lab.model.store._lasts == ()


@pytest.mark.parametrize("store", STORES, ids=str)
def test_what_moves_farther_than_that_is_held_as_ever_to_the_bit(trial, store):
    """These small weights halve a distance per step: far more than a millionth of what may be lost."""
    ours, theirs = trial(dataclasses.replace(store, reuse=1e-9)), trial(store)
    for _ in range(3):
        ours.step(0.01)
        theirs.step(0.01)
        for name, gradient in theirs.gradients().items():
            assert torch.equal(ours.gradients()[name], gradient), name


def test_a_record_serves_half_of_its_puzzles_at_least(trial):
    """So open records of a backward pass are never worth more than two calls."""
    t = trial(LaserFusedStore(rank=8, adapt=False, reuse=10.0), batch_size=8)
    held = []
    hold = t.model.store.hold
    t.model.store.hold = lambda *what: held.append(hold(*what)) or held[-1]
    t.step()
    t.model.config = dataclasses.replace(t.model.config, latent_steps=12)
    for _ in range(3):
        t.step(0.5)
    assert any(len(parts) > 1 for parts in held), "nothing was shared in part"
    for parts in held:
        assert sorted(puzzle for part in parts for puzzle in part.puzzles) == list(range(8))
        assert all(2 * len(part.rows) >= part.record.size for part in parts)


def test_backward_of_a_kept_graph_may_run_again():
    """Also after a pass that ended before the call that made the record."""
    lab = Lab(LaserCodedStore(energy=0.99, reuse=0.3), (1,), **ATTENTION)
    lab.gradients()
    weights, inputs = list(lab.model.parameters()), []
    call = lab.model.store.call
    lab.model.store.call = lambda blocks, hidden, injection: call(blocks, inputs.append(hidden) or hidden, injection)
    loss = lab.loss()
    first = torch.autograd.grad(loss, weights, retain_graph=True)
    torch.autograd.grad(loss, inputs[3], retain_graph=True)
    second = torch.autograd.grad(loss, weights)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


def test_a_forward_pass_that_broke_off_leaves_nothing_to_refer_to():
    lab = Lab(LaserCodedStore(energy=0.99, reuse=0.3), **ATTENTION)
    expected = lab.gradients()
    call, calls = lab.model.store.call, []

    def breaking(*what):
        calls.append(what)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return call(*what)

    lab.model.store.call = breaking
    with pytest.raises(KeyboardInterrupt):
        lab.loss()
    lab.model.store.call = call
    lab.model.zero_grad()
    lab.loss().backward()
    assert lab.held[0][0].record.size == 6
    assert all(weight.grad is not None for weight in lab.model.parameters())
    assert expected.keys() == dict(lab.model.named_parameters()).keys()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_values_that_are_not_finite_are_held_and_not_passed_over(value):
    lab = Lab(LaserFusedStore(energy=0.99, reuse=0.3), **ATTENTION)
    lab.gradients()
    sites = ["layers.0.h"]
    store = lab.model.store
    x = torch.randn(6, 9, 32, generator=torch.Generator().manual_seed(0))
    store.hold(sites, [x], [])
    broken = x.clone()
    broken[4, 0, 0] = value
    assert [part.puzzles for part in store.hold(sites, [broken], [])] == [[0, 1, 2, 3, 5], [4]]


@pytest.mark.parametrize("model", [ATTENTION, MIXER], ids=str)
def test_the_first_step_of_a_budget_is_as_exact_as_any(model):
    """No basis tells yet what may be lost."""
    lab = Lab(LaserFusedStore(budget_fraction=0.3, reuse=0.3), (1, 2), **model)
    lab.model.store.begin_step(1)
    lab.loss().backward()
    exact = Lab(NoneStore(), (1, 2), **model)
    exact.loss().backward()
    ours, theirs = ({name: w.grad for name, w in of.model.named_parameters()} for of in (lab, exact))
    assert _relative_error(ours, theirs) <= 0.01
    lab.model.store.end_step()
    for site, tracker in lab.model.store.trackers.items():
        assert lab.model.store.may_lose(site) == pytest.approx(max(0.0, 1 - tracker.fit))


@pytest.mark.parametrize("model", [ATTENTION, MIXER], ids=str)
@pytest.mark.parametrize(
    "store",
    [
        LaserCodedStore(energy=0.999),
        LaserCodedStore(energy=0.999, codes="variable"),
        LaserCodedStore(energy=0.999, keep="call"),
        LaserFusedStore(energy=0.999, weight_energy=0.99),
    ],
    ids=str,
)
def test_codes_and_narrow_weight_gradients_are_as_good_as_without(store, model):
    exact = Lab(NoneStore(), (1, 2), **model).gradients()
    apart = _relative_error(Lab(store, (1, 2), **model).gradients(), exact)
    lab = Lab(dataclasses.replace(store, reuse=0.1), (1, 2), **model)
    assert _relative_error(lab.gradients(), exact) <= 1.3 * apart + 1e-3
    assert any(len(parts) == 2 for parts in lab.held)


def test_the_memory_of_a_run_is_looked_at_again_as_it_comes_to_rest(tiny):
    reuse = {"kind": "laser-fused", "reuse": 0.3, "adapt": False}
    steps = [event.step for event in train(tiny(store=reuse)) if isinstance(event, Memory)]
    assert {5, 10, 12} <= set(steps)
