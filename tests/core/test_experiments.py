"""An experiment's configuration: what is refused, and the runs that are planned."""

from __future__ import annotations

import pytest

from laser_core.config import ConfigError, parse_experiment, plan, to_json

BASE = {"training": {"steps": 10}, "model": {"width": 32}, "tags": ["mine"]}
VARIANTS = {"plain": {"store": {"kind": "none"}}, "laser": {"store": {"kind": "laser", "rank": 4}}}


def experiment(**changes):
    return parse_experiment({"name": "e", "margin": 2, "seeds": 2, "variants": VARIANTS, "base": BASE} | changes)


def test_pairs_lie_side_by_side_and_turn_with_every_other_seed():
    planned = plan(experiment())
    assert [(each.config.seed, each.variant) for each in planned] == [
        (0, "plain"), (0, "laser"), (1, "laser"), (1, "plain"),
    ]  # fmt: skip
    assert {(p.config.training.steps, p.config.model.width, p.config.tags) for p in planned} == {(10, 32, ("mine",))}
    assert planned[1].config.store.rank == 4
    assert planned[1].config.name == "e · laser · seed 0"


def test_a_grid_is_in_every_variant():
    planned = plan(experiment(seeds=[7], sweep={"kind": "grid", "fields": {"model.width": [16, 32], "store.energy": [0.9]}},
                              variants={"laser": {"store": {"kind": "laser"}}}))  # fmt: skip
    assert [(p.point, p.config.model.width, p.config.store.energy) for p in planned] == [
        ("model.width=16, store.energy=0.9", 16, 0.9),
        ("model.width=32, store.energy=0.9", 32, 0.9),
    ]


def test_random_points_are_seeded_and_inside_their_range():
    fields = {
        "training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "model.layers": {"low": 1, "high": 3, "whole": True},
    }
    sweep = {"kind": "random", "samples": 20, "fields": fields}
    planned = plan(experiment(seeds=1, sweep=sweep))
    assert planned == plan(experiment(seeds=1, sweep=sweep))
    rates = [p.config.training.learning_rate for p in planned]
    assert 1e-4 <= min(rates) < 1e-3 < max(rates) <= 1e-2
    assert {p.config.model.layers for p in planned} == {1, 2, 3}
    assert len({p.point for p in planned}) == 20
    assert planned != plan(experiment(seeds=1, sweep=sweep | {"seed": 1}))


def test_it_survives_json():
    made = experiment(sweep={"kind": "grid", "fields": {"model.width": [16]}})
    assert parse_experiment(to_json(made)) == made
    assert made.seeds == (0, 1)
    assert made.baseline_variant == "plain"


@pytest.mark.parametrize(
    ("changes", "field", "word"),
    [
        ({"margin": 0}, "margin", "more than 0"),
        ({"seeds": 0}, "seeds", "1 to 1000"),
        ({"seeds": True}, "seeds", "list"),
        ({"seeds": [1, 1]}, "seeds", "twice"),
        ({"seeds": [-1]}, "seeds", "expected 0 to"),
        ({"name": " "}, "name", "name"),
        ({"variants": {}}, "variants", "1 to 32"),
        ({"variants": {"x": 1}}, "variants.x", "part of a run"),
        ({"variants": {"x": {"seed": 1}}}, "variants.x.seed", "leave it out"),
        ({"variants": {"x": {"store": {"kind": "laser", "rank": 999}}}}, "variants.x.store.rank", "at most"),
        ({"variants": {"x": {"stor": 1}}}, "variants.x.stor", "unknown"),
        ({"base": {"kind": "eval", "checkpoint": "r_1"}}, "base.kind", "expected train"),
        ({"base": {"model": {"width": "x"}}}, "base.model.width", "whole number"),
        ({"base": {"tags": [str(n) for n in range(16)]}}, "base.tags", "at most 15"),
        ({"baseline": "other"}, "baseline", "one of plain, laser"),
        ({"metric": "loss"}, "metric", "one of"),
        ({"seeds": 501}, "", "1,002 runs"),
        ({"sweep": {"kind": "grid", "fields": {}}}, "sweep.fields", "1 to 8"),
        ({"sweep": {"kind": "grid", "fields": {"seed": [1]}}}, "sweep.fields.seed", "may vary"),
        ({"sweep": {"kind": "grid", "fields": {"model.width": 3}}}, "sweep.fields.model.width", "list of values"),
        ({"sweep": {"kind": "grid", "fields": {"model": [{}]}}}, "sweep.fields.model", "numbers, words"),
        ({"sweep": {"kind": "grid", "fields": {"model.width": [1]}}}, "variants.plain at model.width=1.model.width", "least"),
        ({"sweep": {"kind": "grid", "fields": {"a.b": [0] * 999}}}, "", "runs"),
        ({"sweep": {"kind": "random", "fields": {"a": {"low": 2, "high": 1}}}}, "sweep.fields.a", "low below high"),
        ({"sweep": {"kind": "random", "fields": {"a": {"low": 0, "high": 1, "log": True}}}},
         "sweep.fields.a.low", "more than 0"),
        ({"sweep": {"kind": "random", "fields": {"a": {"lo": 0}}}}, "sweep.fields.a.lo", "unknown"),
    ],
)  # fmt: skip
def test_what_cant_be_used_is_named(changes, field, word):
    with pytest.raises(ConfigError) as raised:
        plan(experiment(**changes))
    (problem,) = [p for p in raised.value.problems if word in p.message]
    assert problem.field == field
