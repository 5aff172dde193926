"""Experiments in the database: all runs or none, verdicts from all of them, the front, what they will take."""

from __future__ import annotations

import dataclasses
import threading

import pytest
import sqlalchemy as sa

from laser_core.config import parse_experiment, parse_run, plan
from laser_core.estimate import start_bytes
from laser_core.verdicts import verdict
from store import claims, experiments, workers
from store.errors import Conflict, NotFound, Refused
from store.estimates import estimate
from store.report import report
from store.runs import delete_run, request_cancel
from store.states import State
from store.tables import experiment_runs, runs

CONFIG = {
    "name": "plain or laser", "margin": 2.0, "seeds": 8, "base": {"tags": ["4x4"], "training": {"steps": 10}},
    "variants": {"none": {"store": {"kind": "none"}}, "laser": {"store": {"kind": "laser"}}},
}  # fmt: skip


@pytest.fixture
def make(engine, owner):
    """Creates an experiment: ``make(seeds=3)``."""
    return lambda key=None, **changes: experiments.create(engine, parse_experiment(CONFIG | changes), owner, key)[0]


@pytest.fixture
def end(engine, settings):
    """Lets every waiting run end: ``end(lambda run: {"exact_accuracy": …} or None to fail)`` is asked for its values."""

    def end(values_of):
        while claim := claims.claim_run(engine, "w", 20, settings=settings):
            claims.mark_running(engine, claim.run_id, 1)
            values = values_of(parse_run(claim.config))
            state = State.failed if values is None else State.succeeded
            claims.finish(
                engine, claim.run_id, 1, state, "bad luck" if values is None else "", result={"values": values or {}}
            )

    return end


def measured(config):
    """Plain: 90 % and a little scatter by seed; laser: 0.1 points less or more, a tenth of the bytes, a tenth slower."""
    laser = config.store.kind == "laser"
    accuracy = 0.9 + 0.002 * config.seed + (0.001 if config.seed % 2 else -0.001) * laser
    return {
        "exact_accuracy": accuracy, "puzzles": 1000, "eager_bytes": 1000, "saved_bytes": 100 if laser else 1000,
        "step_time_s": (1.1 if laser else 1.0) + 0.01 * config.seed,
    }  # fmt: skip


def count(engine, table):
    with engine.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def test_all_runs_in_one_call(engine, make):
    made = make()
    assert (made.runs, made.planned, made.states, made.margin, made.baseline) == (16, 16, {"queued": 16}, 2.0, "none")
    _, members = experiments.members(engine, made.id)
    assert [(m.variant, m.run.seed) for m in members[:4]] == [("none", 0), ("laser", 0), ("laser", 1), ("none", 1)]
    assert all(set(m.run.tags) == {"4x4", made.id} for m in members)
    assert experiments.list_experiments(engine, None).items == [made]


def test_none_where_one_cant_be_queued(engine, make):
    with pytest.raises(Refused, match="no dataset"):
        make(variants={"a": {}, "b": {"task": {"kind": "csv", "train": "nowhere"}}})
    assert (count(engine, runs), count(engine, experiment_runs)) == (0, 0)
    assert experiments.list_experiments(engine, None).items == []


def test_the_same_key_makes_it_once(engine, owner, make):
    made = []
    threads = [threading.Thread(target=lambda: made.append(make("key"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({each.id for each in made}) == 1
    assert count(engine, runs) == 16
    with pytest.raises(Conflict, match="another experiment"):
        make("key", margin=1.0)
    assert make().id != made[0].id


def test_the_report_says_what_the_engine_says(engine, make, end):
    made = make()
    waiting = report(engine, made.id)
    assert waiting.sentence == "No run is done yet."
    assert not waiting.is_over
    assert waiting.verdicts[0].verdict == "too few seeds"
    end(measured)
    found = report(engine, made.id)
    (judged,) = found.verdicts
    values = [pair.baseline for pair in judged.differences], [pair.variant for pair in judged.differences]
    told = verdict(*values, 2.0).to_json()
    assert judged.pairs == told["pairs"] == 8
    assert {name: dataclasses.asdict(judged)[name] for name in told} == told
    assert judged.verdict == "equivalent"
    assert values[0] == pytest.approx([90 + 0.2 * seed for seed in range(8)])
    assert judged.bootstrap.ci95[0] < 0 < judged.bootstrap.ci95[1]
    assert judged.saved_bytes_ratio.mean == pytest.approx(0.1)
    assert "laser is equivalent to none: +0.00 points" in found.sentence
    assert "10.0 % of the baseline's activation bytes at 1.10 times" in found.sentence
    assert (found.is_over, found.left_out) == (True, [])


def test_groups_carry_means_with_intervals_and_the_front(engine, make, end):
    made = make(variants=CONFIG["variants"] | {"bad": {"store": {"kind": "quant"}}})
    worse = {"exact_accuracy": 0.5, "saved_bytes": 500, "step_time_s": 2.0, "eager_bytes": 1000}
    end(lambda config: worse if config.store.kind == "quant" else measured(config))
    none, laser, bad = report(engine, made.id).groups
    assert none.is_baseline
    assert (none.metric.count, none.metric.mean) == (8, pytest.approx(0.907))
    assert none.metric.low < 0.907 < none.metric.high
    assert none.dominated_by == laser.dominated_by == []
    assert (bad.dominated_by, bad.is_clearly_dominated) == (["laser"], True)


def test_failed_and_deleted_runs_are_told(engine, make, end):
    made = make()
    end(lambda config: None if (config.seed, config.store.kind) == (3, "laser") else measured(config))
    _, members = experiments.members(engine, made.id)
    delete_run(engine, members[0].run.id)
    found = report(engine, made.id)
    assert found.verdicts[0].pairs == 6
    assert "laser, seed 3: failed (bad luck)" in found.left_out[0]
    assert found.left_out[1] == "1 of 16 runs have been deleted"


def test_a_metric_that_is_no_number_makes_no_pair(engine, make, end):
    made = make()
    end(lambda config: measured(config) | ({"exact_accuracy": float("nan")} if config.seed == 0 else {}))
    found = report(engine, made.id)
    assert found.verdicts[0].pairs == 7
    assert "no number" in found.left_out[0]


def test_points_of_a_sweep_are_judged_each_by_itself(engine, make, end):
    made = make(seeds=6, sweep={"kind": "grid", "fields": {"model.width": [16, 32]}})
    end(
        lambda config: (
            measured(config)
            | ({"exact_accuracy": 0.1} if config.model.width == 16 and config.store.kind == "laser" else {})
        )
    )
    verdicts = {judged.variant: judged for judged in report(engine, made.id).verdicts}
    assert {name: judged.verdict for name, judged in verdicts.items()} == {
        "laser · model.width=16": "worse", "laser · model.width=32": "equivalent",
    }  # fmt: skip
    assert verdicts["laser · model.width=16"].baseline == "none · model.width=16"


def test_one_variant_has_nothing_to_be_held_against(engine, make, end):
    made = make(seeds=2, variants={"only": {}}, sweep={"kind": "grid", "fields": {"model.width": [16, 32]}})
    end(lambda config: measured(config) | {"exact_accuracy": config.model.width / 100})
    found = report(engine, made.id)
    assert found.verdicts == []
    assert "only · model.width=32 has the best mean, 32.0 %" in found.sentence


def test_cancel_and_delete(engine, make):
    made = make()
    with pytest.raises(Conflict, match="haven't ended"):
        experiments.delete(engine, made.id)
    _, members = experiments.members(engine, made.id)
    request_cancel(engine, members[0].run.id)
    assert experiments.cancel(engine, made.id).states == {"cancelled": 16}
    assert experiments.cancel(engine, made.id).states == {"cancelled": 16}
    assert len(experiments.delete(engine, made.id)) == 16
    assert count(engine, runs) == count(engine, experiment_runs) == 0
    with pytest.raises(NotFound):
        experiments.get(engine, made.id)


def test_pages(engine, make):
    numbers = [make(seeds=1).number for _ in range(3)]
    page = experiments.list_experiments(engine, None, limit=2)
    assert [each.number for each in page.items] == numbers[:0:-1]
    rest = experiments.list_experiments(engine, None, limit=2, before=page.next_before)
    assert ([each.number for each in rest.items], rest.next_before) == (numbers[:1], None)
    assert experiments.list_experiments(engine, frozenset({"u_other"})).items == []


def test_what_it_will_take(engine, make, end):
    config = parse_experiment(CONFIG)
    unknown = estimate(engine, config)
    assert (unknown.runs, unknown.duration_s, unknown.groups[0].basis) == (16, None, "not known")
    assert unknown.groups[0].start_bytes == start_bytes(plan(config)[0].config) > 10**6
    make()
    end(lambda config: measured(config) | {"step_time_s": 2.0})
    workers.register(engine, "w", "host", 1, 4, "cpu", "1")
    known = estimate(engine, config)
    assert [(g.variant, g.basis, g.saved_bytes, g.run_s) for g in known.groups] == [
        ("none", "runs alike", 1000, 20.0), ("laser", "runs alike", 100, 20.0),
    ]  # fmt: skip
    assert (known.slots, known.work_s, known.duration_s, known.most_saved_bytes) == (4, 320.0, 80.0, 1000)
    wider = estimate(engine, parse_experiment(CONFIG | {"base": {"training": {"steps": 10}, "model": {"width": 128}}}))
    assert (wider.groups[0].basis, wider.groups[0].saved_bytes, wider.groups[0].run_s) == (
        "scaled from others",
        2000,
        80.0,
    )
