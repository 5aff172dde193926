"""``laser verdict`` on files, without a platform."""

from __future__ import annotations

import json

import pytest

from client.cli import main

HEAD = "seed,baseline,variant\n"


@pytest.fixture
def verdict(tmp_path, capsys):
    """``verdict(text, *options)``: the exit code and what was printed about a file of this text."""

    def verdict(text, *options):
        path = tmp_path / "pairs.csv"
        path.write_text(text)
        code: object = 0
        try:
            main(["verdict", str(path), *options])
        except SystemExit as exit:
            code = exit.code
        return code or 0, "".join(capsys.readouterr())

    return verdict


def pairs(*differences):
    return HEAD + "".join(f"{seed},90.5,{90.5 + difference}\n" for seed, difference in enumerate(differences))


@pytest.mark.parametrize(
    ("differences", "answer"),
    [
        ((3, 4, 5, 3, 4, 5), "better"),
        ((-3, -4, -5, -3, -4, -5), "worse"),
        ((0.1, -0.1, 0.2, -0.2, 0.1, 0), "equivalent"),
        ((9, -9, 9, -9, 9, -8), "undecided"),
        ((9, 9, 9, 9, 8.5), "too few seeds"),
        ((), "too few seeds"),
    ],
)
def test_every_answer_as_json(verdict, differences, answer):
    code, printed = verdict(pairs(*differences), "--margin", "2", "--json")
    told = json.loads(printed)
    assert (code, told["verdict"], told["pairs"]) == (0, answer, len(differences))
    assert list(told) == ["verdict", "pairs", "paired_t", "sign_flip", "tost", "seeds_needed"]
    assert list(told["paired_t"]) == ["statistic", "p", "ci95"]
    assert list(told["tost"]) == ["p", "ci90"]


def test_in_words(verdict):
    code, printed = verdict(pairs(3, 4, 5, 3, 4, 5), "--margin", "2")
    assert code == 0
    assert "The variant is better." in printed
    assert "mean difference +4.000 points, 95 % interval +3.061 to +4.939" in printed
    assert "sign-flip test     p = 0.0312" in printed


def test_columns_in_any_order_and_more_of_them(verdict):
    _, printed = verdict("note, variant, seed, baseline\nx, 1, a, 2\ny, 1, b, 2.5\n", "--margin", "2", "--json")
    assert json.loads(printed)["paired_t"]["ci95"][0] < -1.25


@pytest.mark.parametrize(
    ("text", "options", "word"),
    [
        ("seed,baseline\n1,2\n", ("--margin", "2"), "no column variant"),
        ("", ("--margin", "2"), "no column seed, baseline, variant"),
        (HEAD + "1,2,x\n", ("--margin", "2"), "line 2: variant"),
        (HEAD + "1,2,3\n1,2,3\n", ("--margin", "2"), "line 3: seed 1 is there twice"),
        (HEAD + "1,nan,3\n", ("--margin", "2"), "line 2: baseline"),
        (HEAD + "1,2\n", ("--margin", "2"), "line 2: variant"),
        (pairs(1, 2), ("--margin", "0"), "--margin"),
        (pairs(1, 2), (), "--margin"),
    ],
)
def test_what_cant_be_used_is_named(verdict, text, options, word):
    code, printed = verdict(text, *options)
    assert code == 2
    assert word in printed
