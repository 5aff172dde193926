"""The spool gives back what was appended, from any line on, whatever was cut off at its end."""

from __future__ import annotations

import errno
import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laser_core.events import CheckpointSaved, Log, Metrics, Progress
from worker import spool
from worker.spool import SpoolError, SpoolWriter

numbers = st.floats(allow_nan=False) | st.integers(0, 2**40).map(float)
events_written = st.lists(
    st.builds(Metrics, st.integers(0, 2**40), st.dictionaries(st.text(max_size=8), numbers, max_size=3))
    | st.builds(Log, st.text())
    | st.builds(CheckpointSaved, st.integers(0, 99), st.text(), st.dictionaries(st.text(), st.text()), st.just(1)),
    max_size=12,
)


def write(path, events):
    writer = SpoolWriter(path)
    for event in events:
        writer.append(event)
    writer.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spool"


@given(events=events_written, most_bytes=st.integers(1, 400))
def test_what_is_read_in_batches_is_what_was_written(tmp_path_factory, events, most_bytes):
    path = tmp_path_factory.mktemp("spool") / "spool"
    write(path, events)
    seen, offset = [], 0
    while True:
        batch, end = spool.read(path, offset, most_bytes)
        if not batch:
            break
        assert end > offset
        seen, offset = [*seen, *batch], end
    assert seen == events
    assert offset == path.stat().st_size


@given(events=events_written.filter(len), data=st.data())
def test_a_file_cut_anywhere_gives_its_whole_lines_and_can_be_continued(tmp_path_factory, events, data):
    path = tmp_path_factory.mktemp("spool") / "spool"
    write(path, events)
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    seen, end = spool.read(path, 0)
    assert seen == events[: content[:cut].count(b"\n")]
    spool.mend(path, 0)
    assert path.stat().st_size == end
    write(path, [Log("after")])
    assert spool.read(path, 0)[0] == [*seen, Log("after")]


def test_a_missing_file_is_an_empty_one(path):
    assert spool.read(path, 0) == ([], 0)
    spool.mend(path, 0)
    assert not path.exists()


@pytest.mark.parametrize("damage", [b"x", b"0", b"\n", b" "])
def test_a_damaged_line_is_refused_by_its_place(path, damage):
    write(path, [Log("one"), Progress(1, 2, 0.5), Log("three")])
    content = bytearray(path.read_bytes())
    second = content.index(b"\n") + 1
    content[second + 20 : second + 21] = damage
    path.write_bytes(content)
    with pytest.raises(SpoolError, match=f"byte {second}"):
        spool.read(path, 0)


def test_an_event_that_has_no_room_leaves_no_torn_line(path):
    """The limit on a file's size lets a part of the line in, as a disk that fills up does."""
    write(path, [Log("one")])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = SpoolWriter(path)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, before[1]))
        with pytest.raises(OSError, match="no room for an event") as full:
            writer.append(Log("two"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert full.value.errno == errno.ENOSPC
    writer.append(Log("three"))
    writer.close()
    assert spool.read(path, 0)[0] == [Log("one"), Log("three")]


def test_a_full_disk_is_an_error_of_the_writer():
    writer = SpoolWriter(Path("/dev/full"))
    with pytest.raises(OSError, match="No space left"):
        writer.append(Log("x"))
    writer.close()
