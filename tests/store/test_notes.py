"""Tags, notes and views."""

from __future__ import annotations

import pytest

from store import notes, users, views
from store.errors import Conflict, NotFound, Refused
from store.run_list import RunQuery, list_runs
from store.runs import get_run, runs_changed


def test_tags_and_notes_change_in_any_state_and_are_told(engine, submit, start):
    start(seed=1)
    run = submit(tags=["a", "b"])
    changed = notes.change(
        engine, run.id, ["c", "c", "a"], ["b", "never"], "two\r\nlines\x1b[31m \u202e", now=run.updated_at + 5
    )
    assert changed.tags == ("a", "c")
    assert changed.note == "two\nlines "
    assert (changed.state, changed.last_seq, changed.config) == (run.state, run.last_seq, run.config)
    assert [r.id for r in runs_changed(engine, run.updated_at + 1, None)] == [run.id]
    assert notes.change(engine, run.id).note == "two\nlines "  # None leaves it
    assert notes.change(engine, run.id, note="").note == ""
    assert get_run(engine, run.id).tags == ("a", "c")
    assert [r.id for r in list_runs(engine, RunQuery(filter="tag:c -tag:b"), None).items] == [run.id]
    with pytest.raises(NotFound):
        notes.change(engine, "r_none", ["a"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"add_tags": ["x" * 41]}, "add_tags"),
        ({"add_tags": ["\x00"]}, "add_tags"),
        ({"remove_tags": [" "]}, "remove_tags"),
        ({"add_tags": [str(number) for number in range(16)]}, "add_tags"),
        ({"note": "x" * (notes.NOTE_LENGTH + 1)}, "note"),
    ],
)
def test_a_bad_change_is_refused_whole(engine, submit, change, field):
    run = submit(tags=["a"])
    with pytest.raises(Refused, match=f"{field}: expected"):
        notes.change(engine, run.id, **change)
    assert get_run(engine, run.id) == run


def test_notes_are_found_by_a_filter(engine, submit):
    run = submit()
    submit(seed=1)
    notes.change(engine, run.id, note="Diverges after step 40")
    for asked in ("note~diverges", "note:*"):
        assert [r.id for r in list_runs(engine, RunQuery(filter=asked), None).items] == [run.id]


def test_views_are_everybodys_own(engine, owner):
    other = users.add(engine, "ada", "member").id
    mine = views.save(engine, owner, "late", "created>-1d", "-updated", ["seed", "metric.train.loss"])
    again = views.save(engine, owner, "late", "created>-2d")
    views.save(engine, owner, "Early")
    assert (again.id, again.filter, again.sort, again.columns) == (mine.id, "created>-2d", "", ())
    assert [view.name for view in views.list_views(engine, owner)] == ["Early", "late"]
    assert views.list_views(engine, other) == []
    with pytest.raises(NotFound):
        views.delete(engine, other, mine.id)
    views.delete(engine, owner, mine.id)
    assert [view.name for view in views.list_views(engine, owner)] == ["Early"]
    with pytest.raises(Refused, match="column 7"):
        views.save(engine, owner, "bad", "state:walking")
    with pytest.raises(Refused, match="name"):
        views.save(engine, owner, "\x00 ")


def test_there_is_an_end_to_views(engine, owner, monkeypatch):
    monkeypatch.setattr(views, "MOST_VIEWS", 2)
    for name in ("a", "b", "a"):
        views.save(engine, owner, name)
    with pytest.raises(Conflict, match="delete one first"):
        views.save(engine, owner, "c")
    assert len(views.list_views(engine, owner)) == 2
