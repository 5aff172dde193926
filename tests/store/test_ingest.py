"""What a run says is stored exactly once, in order."""

from __future__ import annotations

import math
import threading

import pytest

from laser_core.events import (
    CheckpointSaved,
    FileSaved,
    Log,
    Memory,
    Metrics,
    Progress,
    Result,
    SiteBytes,
    Snapshot,
    Spectrum,
    Started,
    Trace,
)
from store import artifacts, claims, events, metrics, traces
from store.errors import Conflict, NotFound
from store.ingest import ingest, spool_offset
from store.runs import get_run

A = "a" * 64


def points(engine, run_id):
    return list(metrics.iter_points(engine, run_id))


def test_every_event_finds_its_place(engine, start):
    run_id = start()
    said = [
        Started(0, 100, "cpu", 1234, {"torch": "2.13"}),
        Log("hello"),
        Progress(10, 100, 0.25),
        Metrics(10, {"train.loss": 1.5, "train.exact_accuracy": 0.25}),
        Trace(10, "layers.0.qkv", 0, "init", 8, 64, 0.97, 1.0, 4096, (3.0, 2.0)),
        Memory(10, 500, 1000, (SiteBytes("layers.0.qkv", "linear", 500),)),
        CheckpointSaved(10, "step-00000010", {"model.safetensors": A}, 77),
        Result({"exact_accuracy": 0.5, "loss": math.nan}, weights_sha256=A),
    ]
    ingest(engine, run_id, 1, 0, 1000, said, now=5e9)
    run = get_run(engine, run_id)
    assert (run.step, run.steps, run.step_time_s, run.updated_at) == (10, 100, 0.25, 5e9)
    assert (run.checkpoint, run.checkpoint_step) == ("step-00000010", 10)
    assert run.latest == {"train.loss": 1.5, "train.exact_accuracy": 0.25}
    assert run.result["values"]["exact_accuracy"] == 0.5
    assert math.isnan(run.result["values"]["loss"])
    log = events.after(engine, run_id)
    assert [event.kind for event in log[3:]] == [
        "started",
        "log",
        "memory",
        "checkpoint",
        "result",
        "metrics",
        "traces",
    ]
    assert [event.seq for event in log] == list(range(1, len(log) + 1))
    assert run.last_seq == len(log)
    assert events.newest(engine, run_id, "memory")[0].data["sites"][0]["site"] == "layers.0.qkv"
    (site,) = traces.read(engine, run_id, with_energies=True)
    assert (site.site, site.ranks, site.energies, site.events) == ("layers.0.qkv", [8], [[3.0, 2.0]], ["init"])


def test_a_range_is_stored_once_and_gaps_are_refused(engine, start):
    run_id = start()
    for _ in range(3):
        ingest(engine, run_id, 1, 0, 100, [Metrics(1, {"m": 1.0}), Log("one")])
    assert spool_offset(engine, run_id, 1) == 100
    with pytest.raises(Conflict, match="don't continue the 100 stored"):
        ingest(engine, run_id, 1, 150, 200, [Log("after a gap")])
    with pytest.raises(Conflict):
        ingest(engine, run_id, 1, 50, 200, [Log("overlap")])
    assert points(engine, run_id) == [("m", 1, 1.0)]
    assert len(events.after(engine, run_id, kind="log")) == 1
    with pytest.raises(NotFound, match="no attempt 9"):
        spool_offset(engine, run_id, 9)


def test_racing_writers_of_one_range_store_it_once(engine, start):
    run_id = start()

    def send():
        for i in range(20):
            ingest(engine, run_id, 1, 10 * i, 10 * i + 10, [Metrics(i, {"m": float(i)}), Log(str(i))])

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert points(engine, run_id) == [("m", i, float(i)) for i in range(20)]
    assert [event.data["message"] for event in events.after(engine, run_id, kind="log")] == [str(i) for i in range(20)]
    sequence = [event.seq for event in events.after(engine, run_id)]
    assert sequence == list(range(1, len(sequence) + 1))


def test_a_resumed_attempt_repeats_points_without_doubling_them(engine, start, settings):
    run_id = start()
    steps = [Metrics(step, {"m": step / 2}) for step in range(10)]
    trace = Trace(3, "s", 0, "init", 1, 4, 1.0, 0.0, 8)
    saved = CheckpointSaved(4, "step-4", {"model.safetensors": A}, 1)
    ingest(engine, run_id, 1, 0, 10, [*steps[:5], trace, saved, *steps[5:8]])
    claims.release(engine, run_id, 1, "drained")
    claim = claims.claim_run(engine, "w2", 20, settings=settings)
    assert (claim.epoch, claim.checkpoint) == (2, "step-4")
    assert spool_offset(engine, run_id, 2) == 0
    ingest(engine, run_id, 2, 0, 10, [*steps[5:], trace])
    assert points(engine, run_id) == [("m", step, step / 2) for step in range(10)]
    assert len(traces.read(engine, run_id)[0].steps) == 1


def test_only_the_kept_checkpoints_are_listed(engine, start, settings):
    run_id = start()
    for step in (10, 20, 30, 30):
        saved = CheckpointSaved(step, f"step-{step}", {"model.safetensors": A, "state.json": A}, 1)
        offset = spool_offset(engine, run_id, 1)
        ingest(engine, run_id, 1, offset, offset + 5, [saved])
    listed = artifacts.list_artifacts(engine, settings, run_id)
    assert [(a.folder, a.name) for a in listed] == [
        ("step-30", "model.safetensors"),
        ("step-30", "state.json"),
        ("step-20", "model.safetensors"),
        ("step-20", "state.json"),
    ]
    assert listed[0].size_bytes is None
    file = settings.artifacts_dir / run_id / "checkpoints" / "step-30" / "state.json"
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    found, blob = artifacts.get(engine, settings, listed[1].id)
    assert (found.size_bytes, settings.blobs.local(blob)) == (2, file.resolve())
    file.unlink()
    file.symlink_to("/etc/hostname")
    with pytest.raises(NotFound):
        artifacts.get(engine, settings, listed[1].id)


def test_a_report_is_listed_beside_checkpoints_and_served_from_the_runs_own_folder(engine, start, settings):
    run_id = start()
    spectrum = Spectrum(1, "trained", "s", 1, 0, 4, 9, (1.0,), {"0.9": 1}, {"0.9": 1}, 1.0, 1.0)
    for offset, sha256 in ((0, A), (5, "b" * 64)):  # a later attempt writes it anew
        ingest(engine, run_id, 1, offset, offset + 5, [spectrum, FileSaved("analysis.json", sha256, 2)])
    ingest(engine, run_id, 1, 10, 15, [CheckpointSaved(3, "step-3", {"state.json": A}, 1)])
    listed = artifacts.list_artifacts(engine, settings, run_id)
    assert [(a.kind, a.folder, a.name) for a in listed] == [
        ("checkpoint", "step-3", "state.json"),
        ("report", "", "analysis.json"),
    ]
    assert listed[1].sha256 == "b" * 64
    file = settings.artifacts_dir / run_id / "analysis.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{}")
    assert settings.blobs.local(artifacts.get(engine, settings, listed[1].id)[1]) == file.resolve()
    with pytest.raises(ValueError, match="no plain file name"):
        ingest(engine, run_id, 1, 15, 20, [FileSaved("../x", A, 1)])


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a\0b", "a\\b"])
def test_a_checkpoint_must_have_a_plain_name(engine, start, name):
    run_id = start()
    with pytest.raises(ValueError, match="no plain file name"):
        ingest(engine, run_id, 1, 0, 5, [CheckpointSaved(1, name, {}, 1)])
    with pytest.raises(ValueError, match="no plain file name"):
        ingest(engine, run_id, 1, 0, 5, [CheckpointSaved(1, "step-1", {name: A}, 1)])


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("50 %\r100 %\n", "50 %100 %"),
        ("two\nlines", "two lines"),
        ("\x1b]0;title\x07text \x00\u202e!", "text !"),
        ("see postgresql://me:secret@host/db", "see postgresql://***@host/db"),
        ("lone \ud800 surrogate", "lone  surrogate"),
        ("x" * 5000, "x" * 3999 + "…"),
    ],
)
def test_log_lines_are_made_harmless(engine, start, said, kept):
    run_id = start()
    ingest(engine, run_id, 1, 0, 5, [Log(said, "warning")])
    assert events.after(engine, run_id, kind="log")[0].data == {"message": kept, "level": "warning"}


def test_a_snapshot_is_not_stored(engine, start):
    with pytest.raises(TypeError, match="Snapshot"):
        ingest(engine, start(), 1, 0, 5, [Snapshot(1, {}, {}, {})])


def test_events_are_read_in_pages(engine, start):
    run_id = start()
    ingest(engine, run_id, 1, 0, 5, [Log(str(i)) for i in range(10)])
    first = events.after(engine, run_id, 3, limit=4)
    assert [event.data["message"] for event in first] == ["0", "1", "2", "3"]
    assert [event.seq for event in events.after(engine, run_id, first[-1].seq)] == [8, 9, 10, 11, 12, 13]
    with pytest.raises(NotFound):
        events.after(engine, "r_nothing")
