"""What the command line reads and writes: events, settings, tables."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from client import render
from client.demo import Plan, experiment
from client.errors import BadInput
from client.sse import Message, parse
from client.submission import parse_yaml, read_config, with_settings
from tests.client.conftest import LASER


def test_server_sent_events() -> None:
    lines = [
        *(": heartbeat", "", "id: 7", "event: log", 'data: {"a":', "data: 1}", ""),
        *("event:run", 'data:{"id": "r"}', "", "id: 9", "data: {}"),
    ]
    assert list(parse(lines)) == [Message("7", "log", {"a": 1}), Message("", "run", {"id": "r"})]


def test_settings_change_fields_and_a_new_kind_starts_afresh() -> None:
    config = {"store": {"kind": "laser-fused", "rank": 4}, "training": {"steps": 10, "ema": 0.9}}
    changed = with_settings(
        config,
        [
            "store.kind=laser",
            "store.energy=0.9",
            "training.steps=500",
            "training.learning_rate=1e-3",
            "tags=[a, b]",
            "name=",
        ],
    )
    assert changed == {
        "store": {"kind": "laser", "energy": 0.9},
        "training": {"steps": 500, "ema": 0.9, "learning_rate": 0.001},
        "tags": ["a", "b"],
        "name": None,
    }
    assert config["store"] == {"kind": "laser-fused", "rank": 4}
    with pytest.raises(BadInput, match="expected FIELD=VALUE"):
        with_settings(config, ["steps"])


def test_numbers_are_numbers() -> None:
    assert parse_yaml("{a: 1e-3, b: 2.5E4, c: -1e3, d: 1.5, e: 7, f: 1e, g: e5}") == {
        "a": 0.001, "b": 25_000.0, "c": -1000.0, "d": 1.5, "e": 7, "f": "1e", "g": "e5",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "can't be read: No such file"),
        (b"[1]", "not list"),
        (b"a: [", "neither YAML nor JSON"),
        (b"\xff", "can't be read"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "run.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput, match=message):
        read_config(path)


def test_units() -> None:
    assert [render.size_words(v) for v in (0, 1023, 1024, 150 * 1024, 3.5 * 2**30)] == [
        "0 B", "1023 B", "1.0 KiB", "150 KiB", "3.5 GiB",
    ]  # fmt: skip
    assert [render.duration(v) for v in (None, 0.0123, 5, 600, 36_000)] == ["–", "12.3 ms", "5 s", "10 min", "10.0 h"]
    assert render.sparkline([0.0, 1.0]) == "▁█"
    assert len(render.sparkline([float(i % 7) for i in range(1000)])) == 40
    assert render.sparkline([2.0] * 3) == "▁▁▁"


def test_names_can_neither_style_nor_drive_the_terminal() -> None:
    run = {
        "number": 1, "id": "r_1", "name": "[red]x[/red] \x1b[2J\x1b]0;title\x07", "state": "running", "created_at": 0.0,
        "step": 1, "steps": 2, "step_time_s": 0.1, "latest": {}, "result": None,
    }  # fmt: skip
    console = Console(width=200, force_terminal=True, color_system="truecolor")
    with console.capture() as capture:
        console.print(render.runs_table([run]))
        console.print(render.log_line({"time": 0.0, "level": "info", "message": "\x1b[2Jgone"}))
    assert "\x1b[2J" not in capture.get()
    assert "\x07" not in capture.get()
    assert "[red]x[/red]" in capture.get()


def test_the_demo_is_an_experiment_of_every_variant_and_seed() -> None:
    preset = {
        "kind": "train",
        "seed": 9,
        "store": {"kind": "none"},
        "tags": ["4x4"],
        "training": {"steps": 9, "ema": 0.9},
    }
    config = experiment(preset, Plan(2, ("laser-fused", "none", "laser"), steps=5, puzzles=7))
    assert config["seeds"] == 2
    assert list(config["variants"]) == [
        "none",
        "laser-fused",
        "laser",
    ]  # the platform turns their order with every seed
    assert config["variants"]["none"] == {"store": preset["store"]}
    assert config["base"]["training"] == {"steps": 5, "ema": 0.9}
    assert config["base"]["task"] == {"test_puzzles": 7}
    assert config["base"]["tags"] == ["4x4", "demo"]
    assert "store" not in config["base"]
    with pytest.raises(BadInput, match="name at least one store beside none"):
        experiment(preset, Plan(3, ("none",)))


def test_completion_for_the_shell() -> None:
    environment = {**os.environ, "_LASER_COMPLETE": "complete_bash", "COMP_WORDS": "laser sub", "COMP_CWORD": "1"}
    done = subprocess.run([LASER], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["submit"]
