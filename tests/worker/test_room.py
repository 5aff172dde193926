"""A full disk: who asks is never held up, and the training process says so whatever it can't write."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from worker import room
from worker.job import NO_ROOM, Job


def test_a_file_system_that_hangs_holds_nobody_up(settings, monkeypatch):
    answered, look = threading.Event(), room.Look()
    monkeypatch.setattr(room, "LOOK_S", 0.05)
    monkeypatch.setattr(room, "lack", lambda _: "" if answered.wait(30) else "never")
    asked = [look.lack(settings) for _ in range(3)]
    assert set(asked) == {f"no answer from {settings.artifacts_dir} or {settings.spool_dir} within 0.05 s"}
    assert [thread.name for thread in threading.enumerate()].count("look") == 1  # not one more each time
    answered.set()
    time.sleep(0.1)
    assert look.lack(settings) == ""


def test_a_folder_that_cannot_be_made_is_a_lack(settings, tmp_path):
    (tmp_path / "file").write_text("")
    assert "Not a directory" in room.lack(settings.model_copy(update={"home": tmp_path / "file" / "home"}))


@pytest.mark.slow
def test_no_room_for_the_traceback_is_no_room(tmp_path):
    training = {"steps": 2, "batch_size": 2, "warmup_steps": 1}
    config = {"kind": "train", "task": {"kind": "sudoku", "train_puzzles": 4, "test_puzzles": 2}, "training": training}
    job = tmp_path / "job.json"
    Job(config, str(tmp_path), None, {}, None, spool="/dev/full", threads=1).save(job)
    is_buffered = os.environ | {"PYTHONUNBUFFERED": ""}
    with open("/dev/full", "w") as full:
        ended = subprocess.run([sys.executable, "-m", "worker.trainer", job], stdout=full, stderr=full, env=is_buffered)
    assert ended.returncode == NO_ROOM
