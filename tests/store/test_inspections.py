"""An inspection is queued once per content, goes first, and stays out of the usual list."""

from __future__ import annotations

import json

import pytest

from laser_core.config import InspectConfig
from laser_core.events import CheckpointSaved, FileSaved
from laser_core.inspection import FILE, FORMAT, Inspection, from_json
from store import artifacts, claims, users
from store.errors import NotFound, Refused
from store.ingest import ingest
from store.run_list import RunQuery, list_runs
from store.runs import get_run, request_cancel
from store.states import State
from store.submit import create_run

PUZZLE = "1...2..........."


@pytest.fixture
def trained(engine, start):
    """Makes a training run that has succeeded, with a checkpoint of these weights."""

    def make(weights="a", **changes):
        run_id = start(**changes)
        files = {"model.safetensors": weights * 64, "training.safetensors": "b" * 64}
        ingest(engine, run_id, 1, 0, 9, [CheckpointSaved(5, "step-5", files, 1)])
        claims.finish(engine, run_id, 1, State.succeeded)
        return run_id

    return make


@pytest.fixture
def ask(engine, owner):
    """Asks for an inspection: (the run, whether it was created)."""
    return lambda checkpoint, **changes: create_run(engine, InspectConfig(checkpoint, **changes), owner)


def test_the_same_question_is_asked_once(trained, ask):
    here, elsewhere = trained(), trained(seed=1)  # of equal weights
    first, created = ask(here, puzzle=PUZZLE)
    assert created
    again, created_again = ask(elsewhere, puzzle=PUZZLE.replace(".", "0") + "\n", name="other")
    assert (again.id, created_again) == (first.id, False)


@pytest.mark.parametrize("changes", [{"index": 1}, {"supervision_steps": 3}, {"weights": "raw"}, {"puzzle": "." * 16}])
def test_another_question_is_another_run(trained, ask, changes):
    run_id = trained()
    first, _ = ask(run_id)
    other, created = ask(run_id, **changes)
    assert created
    assert other.id != first.id


def test_other_weights_or_another_model_are_another_question(trained, ask):
    runs = [trained(), trained("c"), trained(model={"block": "mlp"})]
    assert all(ask(run_id, puzzle=PUZZLE)[1] for run_id in runs)


def test_a_question_that_got_no_answer_may_be_asked_again(engine, trained, ask):
    run_id = trained()
    first, _ = ask(run_id)
    request_cancel(engine, first.id)
    again, created = ask(run_id)
    assert created
    assert again.id != first.id


def test_while_training_goes_on_nothing_is_reused(start, ask):
    run_id = start()
    assert ask(run_id)[1]
    assert ask(run_id)[1]


def test_what_others_asked_is_not_told(engine, trained, ask):
    run_id = trained()
    mine, _ = ask(run_id)
    with pytest.raises(Refused, match="no run"):
        create_run(engine, InspectConfig(run_id), users.add(engine, "ann", "member").id)
    assert get_run(engine, mine.id).id == mine.id


def test_inspections_go_first_and_are_listed_on_demand(engine, settings, submit, trained, ask):
    run_id = trained()
    submit()
    inspection, _ = ask(run_id)
    assert inspection.priority == "high"
    assert claims.claim_run(engine, "w", 20, settings=settings).run_id == inspection.id
    assert inspection.id not in [run.id for run in list_runs(engine, RunQuery(), None).items]
    for query in (RunQuery(kind="inspect"), RunQuery(ids=(inspection.id,)), RunQuery(filter="kind:inspect")):
        assert [run.id for run in list_runs(engine, query, None).items] == [inspection.id]


def test_a_worker_whose_slots_are_full_takes_an_inspection_and_nothing_else(engine, settings, submit, trained, ask):
    def take():
        claim = claims.claim_run(engine, "busy", 20, settings=settings, seats=1)
        return claim and claim.run_id

    run_id = trained()
    training, waiting = submit(seed=8), submit(seed=9)
    assert take() == training.id
    assert take() is None
    inspection, _ = ask(run_id)
    assert (claims.queued_count(engine), claims.queued_count(engine, only_light=True)) == (2, 1)
    assert take() == inspection.id
    assert take() is None
    claims.finish(engine, training.id, 1, State.failed)
    assert take() == waiting.id  # an inspection takes nobody's slot


def test_a_puzzle_of_another_size_is_refused(trained, ask):
    with pytest.raises(Refused, match=r"puzzle: is 6×6, but run r_\w+ was trained on 4×4"):
        ask(trained(), puzzle="." * 36)


def test_the_answer_is_read_once_it_is_there(engine, settings, trained, ask):
    run_id = trained()
    inspection, _ = ask(run_id)
    with pytest.raises(NotFound, match="is of kind train"):
        artifacts.read_inspection(engine, settings, run_id)
    with pytest.raises(NotFound, match="is queued"):
        artifacts.read_inspection(engine, settings, inspection.id)
    claims.claim_run(engine, "w", 20, settings=settings)
    claims.mark_running(engine, inspection.id, 1)
    found = Inspection(5, "sudoku", 4, PUZZLE, "", 2, "measured", 0.5, 1, 1, (), ())
    ingest(engine, inspection.id, 1, 0, 9, [FileSaved(FILE, "d" * 64, 2)])
    claims.finish(engine, inspection.id, 1, State.succeeded)
    with pytest.raises(NotFound, match="inspect again"):
        artifacts.read_inspection(engine, settings, inspection.id)
    file = settings.artifacts_dir / inspection.id / FILE
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"format": FORMAT, **vars(found)}))
    assert artifacts.read_inspection(engine, settings, inspection.id) == found
    with pytest.raises(ValueError, match="inspect the puzzle again"):
        from_json({"format": FORMAT + 1})
