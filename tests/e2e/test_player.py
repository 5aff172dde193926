"""The recursion player: puzzles followed through trained checkpoints, by commands and in the browser."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.platform import LASER, Platform
from tests.e2e.test_browser import page as page
from tests.e2e.test_browser import sign_in

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
expect.set_options(timeout=90_000)  # a crowded machine draws a page in tens of seconds
SOLVED = "1234341221434321"
UNSOLVED = "12..34....43..21"
HALF = "12.434.2.143.321"  # every second blank filled in
TWO_SOLUTIONS = "12..34..2143...."


@pytest.fixture(scope="module")
def pair(platform: Platform) -> dict[str, str]:
    """Ids of a plain and of a LASER run, trained until they solve most puzzles."""
    stores: dict[str, dict[str, Any]] = {
        "none": {"kind": "none"},
        "laser": {"kind": "laser-fused", "rank": 8, "adapt": False},
    }
    submitted = {
        name: platform.submit(
            {
                "kind": "train",
                "name": f"{name} pair",
                "task": {"kind": "sudoku", "size": 4, "train_puzzles": 100, "test_puzzles": 20},
                "model": {"block": "mlp", "width": 32, "heads": 2, "layers": 1, "latent_steps": 3, "cycles": 2},
                "store": store,
                "training": {
                    "steps": 300,
                    "batch_size": 32,
                    "learning_rate": 5e-3,
                    "ema": 0.97,
                    "supervision_steps": 4,
                },
            }
        )
        for name, store in stores.items()
    }
    for run_id in submitted.values():
        assert platform.finished(run_id, 400)["state"] == "succeeded"
    return submitted


def laser(platform: Platform, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, "LASER_URL": platform.url, "LASER_HOME": str(platform.home)}
    return subprocess.run([LASER, "inspect", *arguments], env=settings, capture_output=True, text=True)


def test_a_puzzle_is_followed_on_the_terminal(platform: Platform, pair: dict[str, str]) -> None:
    done = laser(platform, pair["none"], "--puzzle", SOLVED)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 2   3 4\n3 4   1 2\n\n2 1   4 3\n4 3   2 1\n")
    assert "Solved." in done.stdout
    assert "It has one solution." in done.stdout


def test_both_runs_answer_and_asking_again_starts_nothing(platform: Platform, pair: dict[str, str]) -> None:
    asked = (pair["none"], "--beside", pair["laser"], "--puzzle", "." * 16, "--json")
    first = json.loads(laser(platform, *asked).stdout)
    assert [one["plane"] for one in first] == ["measured", "tracked"]
    assert {one["solutions"] for one in first} == {2}
    before = platform.answer("GET", "/runs", params={"kind": "inspect"})["total"]
    assert json.loads(laser(platform, *asked).stdout) == first
    assert platform.answer("GET", "/runs", params={"kind": "inspect"})["total"] == before


def test_an_invalid_puzzle_is_told_at_once(platform: Platform, pair: dict[str, str]) -> None:
    done = laser(platform, pair["none"], "--puzzle", "11" + "." * 14)
    assert done.returncode == 2
    assert "invalid puzzle: two 1s in row 1" in done.stderr


# --- in the browser


def ask(page: Page, puzzle: str) -> None:
    page.get_by_test_id("puzzle-text").fill(puzzle)
    page.get_by_test_id("follow-own").click()


def cells_of(page: Page) -> list[str]:
    return [str(answer.get_attribute("data-cells")) for answer in page.get_by_test_id("answer").all()]


def test_the_player_shows_both_runs_step_by_step(platform: Platform, pair: dict[str, str], page: Page) -> None:
    told = json.loads(laser(platform, pair["none"], "--beside", pair["laser"], "--puzzle", UNSOLVED, "--json").stdout)
    sign_in(page, platform)
    page.goto(f"{platform.url}/runs/{pair['none']}?tab=reasoning&beside={pair['laser']}")
    expect(page.get_by_test_id("no-puzzle")).to_be_visible()

    ask(page, UNSOLVED)
    expect(page.get_by_test_id("side")).to_have_count(2)
    assert cells_of(page) == [one["readings"][-1]["cells"] for one in told]
    assert [plane.get_attribute("data-plane") for plane in page.get_by_test_id("plane").all()] == [
        "measured",
        "tracked",
    ]

    slider = page.get_by_role("slider")
    slider.focus()
    page.keyboard.press("Home")
    expect(page.get_by_test_id("position")).to_contain_text("Supervision step 1, cycle 1 of 2, latent 1 of 3")
    assert cells_of(page) == [UNSOLVED, UNSOLVED]  # no answer yet
    page.keyboard.press("ArrowRight")
    expect(page.get_by_test_id("position")).to_contain_text("Supervision step 1, cycle 1 of 2, answer")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_test_id("position")).to_contain_text("Supervision step 2, cycle 1 of 2, answer")
    for side, one in enumerate(told):
        reading = one["readings"][2]
        answer = page.get_by_test_id("answer").nth(side)
        expect(answer).to_have_attribute("data-cells", reading["cells"])
        assert answer.locator("[data-broken]").count() == len(reading["violations"])
        assert answer.locator("[data-changed]").count() == len(reading["changed"])

    page.wait_for_url("**at=11*")
    shared = page.url
    page.goto(platform.url)
    page.goto(shared)
    expect(page.get_by_test_id("side")).to_have_count(2)
    expect(page.get_by_test_id("position")).to_contain_text("Supervision step 2, cycle 1 of 2, answer")
    assert cells_of(page) == [one["readings"][2]["cells"] for one in told]
    page.get_by_test_id("play").click()
    expect(page.get_by_test_id("position")).to_contain_text("Supervision step 16, cycle 2 of 2, answer")


def test_half_and_whole_puzzles_come_from_the_unsolved_one(
    platform: Platform, pair: dict[str, str], page: Page
) -> None:
    sign_in(page, platform)
    page.goto(f"{platform.url}/runs/{pair['none']}?tab=reasoning&puzzle={UNSOLVED}")
    page.get_by_test_id("fill-half").click(timeout=90_000)
    expect(page.get_by_test_id("puzzle-text")).to_have_value(HALF)
    expect(page.get_by_test_id("answer")).to_be_visible(timeout=90_000)
    page.get_by_test_id("fill-all").click()
    expect(page.get_by_test_id("puzzle-text")).to_have_value(SOLVED)
    expect(page.get_by_test_id("verdict-now")).to_be_visible(timeout=90_000)
    assert page.get_by_test_id("answer").locator("[data-given]").count() == 16


def test_wrong_and_ambiguous_puzzles_are_told(platform: Platform, pair: dict[str, str], page: Page) -> None:
    sign_in(page, platform)
    page.goto(f"{platform.url}/runs/{pair['none']}?tab=reasoning")
    ask(page, "1" + "." * 14 + "7")
    expect(page.get_by_test_id("puzzle-fault")).to_contain_text("character 16 is '7'; expected 1–4")
    ask(page, "5" + "." * 35 + "5")
    expect(page.get_by_test_id("puzzle-fault")).to_contain_text("expected 81, 36 or 16 characters")
    ask(page, "." * 4 + "3..3" + "." * 8)
    expect(page.get_by_test_id("puzzle-fault")).to_have_text("invalid puzzle: two 3s in row 2")
    ask(page, TWO_SOLUTIONS)
    expect(page.get_by_test_id("solutions-note")).to_contain_text("more than one solution")
    expect(page.get_by_test_id("answer")).to_be_visible()


def test_a_viewer_sees_what_others_asked_and_asks_nothing(platform: Platform, pair: dict[str, str], page: Page) -> None:
    assert laser(platform, pair["none"], "--beside", pair["laser"], "--puzzle", UNSOLVED).returncode == 0
    viewer = platform.answer("POST", "/users", json={"name": "vic", "role": "viewer"})["id"]
    page.goto(platform.answer("POST", "/login-codes", json={"user": viewer})["url"])
    tab = f"{platform.url}/runs/{pair['none']}?tab=reasoning"
    page.goto(f"{tab}&puzzle={UNSOLVED}&beside={pair['laser']}")
    expect(page.get_by_test_id("side")).to_have_count(2)
    for test in ("puzzle-text", "fill-half"):
        expect(page.get_by_test_id(test)).to_have_count(0)
    page.goto(f"{tab}&index=19")
    expect(page.get_by_test_id("failure")).to_contain_text("Nobody has asked this run that puzzle yet")
    page.goto(tab)
    page.get_by_test_id("asked-by-others").get_by_role("link").click()
    expect(page.get_by_test_id("run-row").first).to_contain_text("inspect of")
