"""Groups, pairs by seed, and honest words."""

from __future__ import annotations

import pytest

from laser_core.verdicts import LEAST_PAIRS
from store import claims
from store.compare import compare
from store.errors import NotFound
from store.states import State

STORES = {"none": {"kind": "none"}, "laser-fused": {"kind": "laser-fused"}}


@pytest.fixture
def finished(engine, submit, settings):
    """Submits and finishes a run: ``finished(store, seed, accuracy, saved, time)`` gives its id."""

    def finished(store, seed, accuracy=0.5, saved=100, time=1.0, state=State.succeeded, **changes):
        run = submit(store=store, seed=seed, **changes)
        claims.claim_run(engine, "w", 20, settings=settings)
        claims.mark_running(engine, run.id, 1)
        values = {"exact_accuracy": accuracy, "saved_bytes": saved, "eager_bytes": 1000, "step_time_s": time}
        claims.finish(engine, run.id, 1, state, result={"values": values})
        return run.id

    return finished


def test_pairs_by_seed(engine, finished):
    plain = [finished(STORES["none"], seed, 0.9, 1000, 1.0) for seed in range(3)]
    fused = [finished(STORES["laser-fused"], seed, 0.9 + seed / 100, 89, 1.12) for seed in range(3)]
    alone = finished(STORES["laser-fused"], 7)
    failed = finished(STORES["none"], 7, state=State.failed)
    comparison = compare(engine, [*fused, *plain, alone, failed], None)
    assert [group.variant for group in comparison.groups] == ["none", "laser-fused"]
    none, _ = comparison.groups
    assert (none.exact_accuracy.count, len(none.members), none.saved_fraction) == (3, 4, 1.0)
    (pairing,) = comparison.pairings
    assert [(pair.baseline_id, pair.variant_id) for pair in pairing.pairs] == list(zip(plain, fused, strict=True))
    assert pairing.exact_accuracy_difference.mean == pytest.approx(0.01)
    assert pairing.saved_bytes_ratio.mean == pytest.approx(0.089)
    assert pairing.p_value is None
    said = comparison.summary
    assert "took 1.12× the step time of none" in said
    assert "solved 1.0 percentage points more of the unseen puzzles (+0.0 to +2.0)" in said
    assert f"3 pairs cannot show whether accuracy differs: at least {LEAST_PAIRS} are needed." in said
    assert f"Left out, as not succeeded: {failed} (failed)." in said


def test_other_settings_make_no_pair(engine, finished):
    runs = [finished(STORES["none"], 0, model={"width": 32}), finished(STORES["laser-fused"], 0, model={"width": 64})]
    comparison = compare(engine, runs, None)
    assert comparison.pairings[0].pairs == []
    assert "nothing paired can be said" in comparison.summary


def test_variants_of_one_store_are_told_apart_by_what_differs(engine, finished):
    runs = [finished({"kind": "laser", "rank": rank}, 0) for rank in (4, 8)]
    assert [group.variant for group in compare(engine, runs, None).groups] == ["laser rank=4", "laser rank=8"]


@pytest.mark.parametrize(("steps", "words"), [([0.1] * 6, "unlikely to be chance"), ([0.1, -0.1] * 3, "is not shown")])
def test_enough_pairs_are_tested(engine, finished, steps, words):
    runs = [finished(STORES["none"], seed) for seed in range(6)]
    runs += [finished(STORES["laser-fused"], seed, 0.5 + step) for seed, step in enumerate(steps)]
    comparison = compare(engine, runs, None)
    assert comparison.pairings[0].p_value in (2 / 64, 1.0)
    assert words in comparison.summary


def test_unfinished_and_unknown_runs(engine, submit):
    run = submit()
    comparison = compare(engine, [run.id, run.id], None)
    assert comparison.groups[0].exact_accuracy.mean is None
    assert f"{run.id} (queued)" in comparison.summary
    with pytest.raises(NotFound, match="r_nothing"):
        compare(engine, [run.id, "r_nothing"], None)
    assert compare(engine, [], None).summary == "Nothing to compare."
