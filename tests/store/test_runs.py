"""Creating, listing and deleting runs."""

from __future__ import annotations

import math
import threading

import pytest
import sqlalchemy as sa

from laser_core.config import AnalysisConfig, EvalConfig, config_hash, parse_run
from laser_core.events import CheckpointSaved, Log, Metrics, Trace
from store import claims, run_list
from store.errors import Conflict, NotFound, Refused
from store.ingest import ingest
from store.run_list import RunQuery, list_runs
from store.runs import delete_run, get_run, request_cancel, runs_changed
from store.states import State
from store.submit import create_run
from store.tables import metadata


def test_a_run_is_stored_whole(engine, owner):
    config = parse_run({"kind": "train", "seed": 3, "tags": ["b", "a", "a"], "store": {"kind": "laser"}})
    run, created = create_run(engine, config, owner)
    assert created
    assert parse_run(run.config) == config
    assert run.config_hash == config_hash(config)
    assert (run.state, run.epoch, run.seed, run.store_kind) == (State.queued, 0, 3, "laser")
    assert run.tags == ("a", "b")
    assert run.name == "laser · sudoku 4×4 · seed 3"
    assert get_run(engine, run.id) == run
    with pytest.raises(NotFound):
        get_run(engine, "r_nothing\0")


def test_names_are_made_harmless(submit):
    run = submit(name="a\x00b\x1b[31m\u202ec", tags=["x\x00"])
    assert (run.name, run.tags) == ("abc", ("x",))


def test_an_idempotency_key_makes_one_run(engine, owner):
    config, other = parse_run({"kind": "train"}), parse_run({"kind": "train", "seed": 1})
    first, created = create_run(engine, config, owner, "key")
    again, created_again = create_run(engine, config, owner, "key")
    assert (created, created_again, again.id) == (True, False, first.id)
    with pytest.raises(Conflict, match="another configuration"):
        create_run(engine, other, owner, "key")
    assert create_run(engine, other, owner, "other key")[1]
    assert create_run(engine, config, owner)[0].id != first.id


def test_racing_submits_of_one_key_make_one_run(engine, owner):
    results = []
    config = parse_run({"kind": "train"})
    barrier = threading.Barrier(6)

    def submit():
        barrier.wait(10)
        results.append(create_run(engine, config, owner, "key"))

    threads = [threading.Thread(target=submit) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({run.id for run, _ in results}) == 1
    assert sorted(created for _, created in results) == [False] * 5 + [True]


@pytest.mark.parametrize("kind", [EvalConfig, AnalysisConfig])
def test_an_eval_or_analysis_names_a_training_run_with_a_checkpoint(engine, owner, start, kind):
    with pytest.raises(Refused, match=r"checkpoint: no run 'r_nothing'"):
        create_run(engine, kind(checkpoint="r_nothing"), owner)
    train = start()
    waiting, _ = create_run(engine, kind(checkpoint=train), owner)
    assert waiting.name.startswith(f"{waiting.kind} of none")
    with pytest.raises(Refused, match=f"is of kind {waiting.kind}"):
        create_run(engine, kind(checkpoint=waiting.id), owner)
    claims.finish(engine, train, 1, State.failed)
    with pytest.raises(Refused, match="without a checkpoint"):
        create_run(engine, kind(checkpoint=train), owner)
    with pytest.raises(Conflict, match=f"run {waiting.id} looks at"):
        delete_run(engine, train)


def test_unknown_datasets_are_refused_by_field(engine, owner):
    config = parse_run({"kind": "train", "task": {"kind": "csv", "train": "mine", "test": "yours"}})
    with pytest.raises(Refused) as refused:
        create_run(engine, config, owner)
    assert [problem.field for problem in refused.value.problems] == ["task.train", "task.test"]


def test_deleting_removes_every_row(engine, start, submit):
    run_id = start(tags=["a"])
    with pytest.raises(Conflict, match="cancel it first"):
        delete_run(engine, run_id)
    said = [Metrics(1, {"m": 1.0}), Log("x"), Trace(1, "s", 0, "init", 1, 2, 1.0, 0.0, 8)]
    ingest(engine, run_id, 1, 0, 5, [*said, CheckpointSaved(1, "step-1", {"f": "0" * 64}, 1)])
    claims.finish(engine, run_id, 1, State.succeeded)
    assert [str(path) for path in delete_run(engine, run_id)] == [run_id]
    with engine.connect() as connection:
        for table in metadata.sorted_tables:
            if table.name not in ("users", "secrets"):
                assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 0, table.name
    assert submit().number == 2  # a number is never used again


def test_changed_runs_are_found_by_time(engine, start, submit):
    first, second = start(), submit()
    last = runs_changed(engine, 0, None)[-1].updated_at
    assert {run.id for run in runs_changed(engine, 0, None)} == {first, second.id}
    assert runs_changed(engine, last, None) == []
    ingest(engine, first, 1, 0, 5, [Log("x")], now=last + 1)
    assert [run.id for run in runs_changed(engine, last, None)] == [first]


# --- lists -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def many(engine, submit, settings):
    """Ids of 9 runs by seed; runs 0 to 6 are running with a metric, of run 6 it is NaN; 7 is queued, 8 cancelled."""
    values = [0.5, 0.9, 0.1, 0.9, math.inf, -1.0, math.nan]
    ids = []
    for seed, value in enumerate(values):
        store = {"kind": "laser" if seed % 2 else "none"}
        ids.append(submit(seed=seed, name=f"Run {'cabgfed'[seed]}", tags=["all", f"t{seed % 2}"], store=store).id)
        claims.claim_run(engine, "w", 20, settings=settings)
        ingest(engine, ids[seed], 1, 0, 5, [Metrics(1, {"test.acc": value})])
    ids += [submit(seed=7, name="100%_sure").id, submit(seed=8, name="x").id]
    request_cancel(engine, ids[8])
    return ids


def walk(engine, **query):
    """Ids over all pages of 2, checking that total stays the same."""
    ids, totals, cursor = [], set(), None
    while True:
        page = list_runs(engine, RunQuery(**query, cursor=cursor, limit=2), None)
        ids += [run.id for run in page.items]
        totals.add(page.total)
        cursor = page.next_cursor
        if cursor is None:
            assert totals == {len(ids)}
            return ids


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("created", [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        ("-created", [8, 7, 6, 5, 4, 3, 2, 1, 0]),
        ("-updated", [8, 7, 6, 5, 4, 3, 2, 1, 0]),
        ("name", [7, 1, 2, 0, 6, 5, 4, 3, 8]),
        ("state", [8, 7, 0, 1, 2, 3, 4, 5, 6]),
        ("metric.test.acc", [5, 2, 0, 1, 3, 4, 8, 7, 6]),
        ("-metric.test.acc", [4, 3, 1, 0, 2, 5, 8, 7, 6]),
        ("metric.unknown", [8, 7, 6, 5, 4, 3, 2, 1, 0]),
    ],
)
def test_pages_follow_every_order(engine, many, sort, order):
    assert [many.index(run_id) for run_id in walk(engine, sort=sort)] == order


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"state": ("queued", "cancelled")}, [7, 8]),
        ({"kind": "eval"}, []),
        ({"store": "laser"}, [1, 3, 5]),
        ({"tag": ("all", "t1")}, [1, 3, 5]),
        ({"text": "RUN A"}, [1]),
        ({"text": "%_"}, [7]),
        ({"text": "t1"}, [1, 3, 5]),
        ({"text": "\0"}, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        ({"tag": ("t0",), "sort": "-metric.test.acc"}, [4, 0, 2, 6]),
    ],
)
def test_filters_and_their_combinations(engine, many, query, found):
    ids = walk(engine, **{"sort": "created"} | query)
    assert [many.index(run_id) for run_id in ids] == found


def test_runs_are_listed_by_id_and_by_their_own_id_as_text(engine, many):
    assert walk(engine, ids=tuple(many[2:5]), sort="created") == many[2:5]
    assert walk(engine, text=many[3]) == [many[3]]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"state": ("gone",)}, "state"),
        ({"sort": "colour"}, "sort"),
        ({"sort": "metric."}, "sort"),
        ({"limit": 0}, "limit"),
        ({"limit": 501}, "limit"),
        ({"cursor": "?"}, "cursor"),
        ({"cursor": "W1tbW1tbW1tb"}, "cursor"),
        ({"cursor": "WyItY3JlYXRlZCIsMCwieCIsMV0"}, "cursor"),  # ["-created",0,"x",1]
        ({"cursor": "WyJuYW1lIiwwLCJ4IiwxXQ"}, "cursor"),  # ["name",0,"x",1]
    ],
)
def test_nonsense_is_refused_by_field(engine, query, field):
    with pytest.raises(Refused) as refused:
        list_runs(engine, RunQuery(**query), None)
    assert refused.value.problems[0].field == field


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # PostgreSQL sorts a table as small as this one
@pytest.mark.parametrize("sort", ["created", "-updated", "name", "-state", "-metric.test.acc"])
def test_no_order_needs_sorting(engine, many, sort, monkeypatch):
    """Each order is read off an index, so that a page costs the same among many runs."""
    monkeypatch.setattr(run_list, "FEW", 0)  # a few are sorted without
    pages = []

    def keep(connection, cursor, statement, parameters, context, executemany):
        if "ORDER BY" in statement and "LIMIT" in statement:
            pages.append((statement, parameters))

    sa.event.listen(engine, "before_cursor_execute", keep)
    first = list_runs(engine, RunQuery(sort=sort, limit=3), None)
    list_runs(engine, RunQuery(sort=sort, limit=3, cursor=first.next_cursor), None)
    sa.event.remove(engine, "before_cursor_execute", keep)
    assert len(pages) >= 2
    with engine.connect() as connection:
        for statement, parameters in pages:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            assert not any("TEMP B-TREE" in row[-1] for row in plan), plan
