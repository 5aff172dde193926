"""The reference names everything there is, and fails for what has no words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import Field

from docs import make_reference
from laser_core.schema import Checked, json_schema, option
from store.settings import Settings


def test_it_is_what_the_code_says() -> None:
    assert make_reference.main(["--check"]) == 0


def test_a_page_that_lags_behind_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(make_reference, "FOLDER", tmp_path)
    assert make_reference.main([]) == 0
    (tmp_path / "routes.md").write_text("# Routes\n")
    (tmp_path / "gone.md").touch()
    assert make_reference.main(["--check"]) == 1
    assert "(routes.md, gone.md): run `make reference`" in capsys.readouterr().out


def test_a_field_without_words_is_named() -> None:
    @dataclass(frozen=True)
    class Shape(Checked):
        """A shape."""

        width: int = option(1)
        height: int = option(1, "From top to bottom.")

    _, definitions = json_schema(Shape, "")
    words = make_reference.Words()
    lines = list(make_reference._object(words, "Shape", definitions["Shape"], {}))
    assert words.missing == ["Shape.width"]
    assert "| `height` | From top to bottom. | whole number | `1` |" in lines


def test_a_setting_without_words_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class More(Settings):
        colour: str = ""
        depth: int = Field(default=3, description="How deep.")

    monkeypatch.setattr(make_reference, "Settings", More)
    monkeypatch.setattr(
        make_reference, "_sources", lambda: ["os.environ['LASER_DEPTH'], os.environ['LASER_SECRET_DOOR']"]
    )
    with pytest.raises(make_reference.Undocumented) as caught:
        make_reference.pages()
    told = str(caught.value).splitlines()[1:]
    assert told == ["  LASER_COLOUR", "  LASER_SECRET_DOOR: describe it in store/settings.py"]
