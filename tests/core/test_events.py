"""Events go through JSON unchanged."""

import json

import pytest

from laser_core.events import (
    CheckpointSaved,
    Event,
    Log,
    Memory,
    Metrics,
    Progress,
    Result,
    SiteBytes,
    Snapshot,
    Started,
    Trace,
    from_json,
    to_json,
)

EVENTS: list[Event] = [
    Started(3, 10, "cpu", 1234, {"torch": "2"}),
    Log("hello", "warning"),
    Progress(1, 2, 0.5),
    Metrics(7, {"train.loss": 0.1 + 0.2}),
    Trace(5, "layers.0.qkv", 0, "grow", 8, 64, 0.93, 0.25, 1024, (0.5, 0.1)),
    Memory(1, 10, 20, (SiteBytes("layers.0.qkv", "linear", 10),)),
    CheckpointSaved(5, "step-00000005", {"state.json": "ab"}, 99),
    Result({"exact_accuracy": 1.0}, "ff", {"split": "test"}),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_comes_back_equal(event: Event) -> None:
    assert from_json(json.loads(json.dumps(to_json(event)))) == event


def test_a_snapshot_is_not_sent() -> None:
    with pytest.raises(TypeError, match="saved to disk"):
        to_json(Snapshot(1, {}, {}, {}))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"type": "Nonsense"}, "type: expected one of Started, .* got 'Nonsense'"),
        ({}, "type: expected one of"),
        ({"type": "Snapshot"}, "type: expected one of"),
        ({"type": "Progress", "step": 1}, "Progress: .*missing"),
        ({"type": "Log", "message": "a", "loud": True}, "Log: .*loud"),
    ],
)
def test_what_is_no_event_is_refused(data: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_json(data)
