"""A community file through the whole platform: upload, train, evaluate that checkpoint on another file."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.platform import LASER, Platform

HEADER = "source,q,a,rating"
GRID = "123456789456789123789123456231564897564897231897231564312645978645978312978312645"


def puzzle_line(shift: int, blanks: int) -> str:
    """A row whose answer is GRID with its digits turned by ``shift`` and whose first ``blanks`` cells are blank."""
    answer = "".join(str((int(digit) - 1 + shift) % 9 + 1) for digit in GRID)
    return f"made,{'.' * blanks}{answer[blanks:]},{answer},{blanks}"


def table(*rows: str) -> bytes:
    return ("\n".join([HEADER, *rows]) + "\n").encode()


TRAIN = table(*(puzzle_line(shift, blanks) for shift in range(9) for blanks in range(3, 9)))
TEST = table(*(puzzle_line(shift, 12) for shift in range(9)))


@pytest.mark.slow
def test_a_file_is_trained_on_and_another_scored(platform: Platform, tmp_path: Path) -> None:
    train = platform.answer("POST", "/datasets", files={"file": ("train.csv", TRAIN, "text/csv")})
    again = platform.answer("POST", "/datasets", files={"file": ("train.csv", TRAIN, "text/csv")})
    assert again["id"] == train["id"]

    (tmp_path / "test.csv").write_bytes(TEST)
    settings = {**os.environ, "LASER_URL": platform.url, "LASER_HOME": str(platform.home)}
    added = subprocess.run(
        [LASER, "datasets", "add", str(tmp_path / "test.csv")], env=settings, capture_output=True, text=True
    )
    assert added.returncode == 0, added.stdout + added.stderr

    trained: dict[str, Any] = platform.finished(
        platform.submit(
            {
                "kind": "train",
                "task": {"kind": "csv", "train": train["id"], "test": "test.csv"},
                "model": {"width": 16, "heads": 2, "latent_steps": 2, "cycles": 2},
                "training": {"steps": 50, "batch_size": 8, "log_every": 10},
            }
        )
    )
    assert trained["state"] == "succeeded", trained["reason"]
    scored = platform.finished(
        platform.submit(
            {
                "kind": "eval",
                "checkpoint": trained["id"],
                "task": {"kind": "csv", "test": "test.csv"},
            }
        )
    )
    assert scored["state"] == "succeeded", scored["reason"]
    assert scored["result"]["values"]["puzzles"] == 9
    for key in ("exact_accuracy", "cell_accuracy"):
        assert scored["result"]["values"][key] == pytest.approx(trained["result"]["values"][key])


@pytest.mark.parametrize(
    ("what", "content", "line", "field"),
    [
        ("missing column", b"source,q,rating\n", 1, "a"),
        ("80 characters", table(puzzle_line(0, 5).replace(",....", ",...", 1)), 2, "q"),
        ("a letter", table(puzzle_line(0, 5).replace("...", "..x", 1)), 2, "q"),
        ("answer breaks a rule", table(f"made,{'.' * 81},{'12' + GRID[2:-1]}1,1"), 2, "a"),
        ("answer against a clue", table(f"made,9{'.' * 80},{GRID},1"), 2, "a"),
        ("duplicate", table(puzzle_line(0, 5), puzzle_line(0, 5)), 3, "q"),
        ("empty", b"", None, None),
        ("header alone", table(), None, None),
        ("not UTF-8", table(puzzle_line(0, 5)) + b"\xff\xfe\xfa,,,\n", 3, None),
        ("binary", bytes(range(256)) * 40, None, None),
    ],
)
def test_a_broken_file_is_refused_with_its_place(
    platform: Platform, what: str, content: bytes, line: int | None, field: str | None
) -> None:
    before = platform.answer("GET", "/datasets"), sorted((platform.home / "datasets").rglob("*"))
    response = platform.http.post("/datasets", files={"file": (f"{what}.csv", content, "text/csv")})
    assert response.status_code == 422, response.text
    problem = response.json()
    said = f"{problem['detail']} {problem['errors']}"
    if line is not None:
        assert f"line {line}" in said
    if field is not None:
        assert any(error["field"].split(".")[-1] == field for error in problem["errors"])
    assert (platform.answer("GET", "/datasets"), sorted((platform.home / "datasets").rglob("*"))) == before


def test_a_file_beyond_the_limit_is_refused(platform: Platform) -> None:
    response = platform.http.post("/datasets", files={"file": ("huge.csv", b"x" * (200 << 20), "text/csv")})
    assert response.status_code == 413, response.text
    assert "MiB" in response.json()["detail"]
    assert not list((platform.home / "datasets").glob("*huge*"))
