"""An experiment from the editor to its verdict: the page, the JSON, the command line and the engine say the same."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browser import chromium, executable
from tests.e2e.platform import LASER, Platform, eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "sudoku-4x4.yaml"
TINY = """
name: tiny
margin: 5
seeds: 6
variants:
  plain: {store: {kind: none}}
  laser: {store: {kind: laser-coded}}
base:
  task: {kind: sudoku, size: 4, train_puzzles: 40, test_puzzles: 20}
  model: {block: mlp, width: 16, heads: 2, layers: 1, latent_steps: 1, cycles: 1, positions: none}
  training: {steps: 12, batch_size: 8, warmup_steps: 5, supervision_steps: 2}
"""

NOTED = """
window.noted = [];
window.Notification = class extends Notification {
  constructor(title, options) { super(title, options); noted.push([title, options.body]); }
};
"""  # what the browser is asked to show


@pytest.fixture
def page(platform: Platform) -> Iterator[Page]:
    if executable() is None:
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail("REQUIRE_BROWSER=1, but no Chromium is installed (Debian: apt install chromium)")
        pytest.skip("no Chromium is installed (Debian: apt install chromium)")
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(30_000)
        page.context.grant_permissions(["notifications"])
        page.add_init_script(NOTED)
        faults: list[str] = []
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(platform.answer("POST", "/login-codes")["url"])
        yield page
        assert [fault for fault in faults if "status of 422" not in fault] == []


def test_from_the_editor_to_the_verdict(platform: Platform, page: Page, tmp_path: Path) -> None:
    page.get_by_test_id("nav-experiments").click()
    page.get_by_test_id("new-sweep").click()
    editor = page.get_by_test_id("sweep-editor")
    assert editor.input_value().splitlines()[0] == "name: LASER on 4×4 Sudoku"
    editor.fill(TINY.replace("margin: 5", "margin: 0"))
    expect(page.get_by_test_id("sweep-problems")).to_contain_text("margin: expected more than 0")
    editor.fill(TINY)
    expect(page.get_by_test_id("estimate")).to_contain_text("12 runs")
    page.get_by_test_id("submit").click()
    page.wait_for_url("**/experiments/x_*")
    page.get_by_test_id("notify").click()
    expect(page.get_by_test_id("notify")).to_have_text("Will notify")
    experiment = urlsplit(page.url).path.rsplit("/", 1)[-1]
    eventually("all runs", lambda: platform.answer("GET", f"/experiments/{experiment}")["is_over"], 480)

    report = platform.answer("GET", f"/experiments/{experiment}")
    assert report["experiment"]["states"] == {"succeeded": 12}
    (judged,) = report["verdicts"]
    expect(page.get_by_test_id("states")).to_have_text("12 succeeded", timeout=60_000)
    expect(page.get_by_test_id("sentence")).to_have_text(report["sentence"])
    eventually("the notification", lambda: page.evaluate("noted.length === 1"))
    assert page.evaluate("noted") == [["tiny", report["sentence"]]]
    expect(page.get_by_test_id("verdict-word")).to_have_text(judged["verdict"])
    expect(page.get_by_test_id("pair-plot").locator("circle")).to_have_count(6)
    expect(page.get_by_test_id("group")).to_have_count(2)
    assert report["groups"][1]["saved_bytes"]["mean"] < report["groups"][0]["saved_bytes"]["mean"]

    environment = {**os.environ, "LASER_HOME": str(platform.home), "LASER_URL": platform.url}
    shown = subprocess.run(
        [LASER, "experiment", "show", experiment, "--json"], env=environment, capture_output=True, check=True
    )
    assert json.loads(shown.stdout) == report
    written = tmp_path / "pairs.csv"
    with written.open("w", newline="") as file:
        csv.writer(file).writerow(("seed", "baseline", "variant"))
        csv.writer(file).writerows((p["seed"], repr(p["baseline"]), repr(p["variant"])) for p in judged["differences"])
    told = subprocess.run(
        [LASER, "verdict", written, "--margin", "5", "--json"], env=environment, capture_output=True, check=True
    )
    for name, value in json.loads(told.stdout).items():
        assert judged[name] == value, name

    page.goto(f"{platform.url}/experiments")
    expect(page.get_by_test_id("experiment-row")).to_contain_text("12 succeeded")


def test_the_example_is_taken(platform: Platform) -> None:
    environment = {**os.environ, "LASER_HOME": str(platform.home), "LASER_URL": platform.url}
    command = [LASER, "experiment", "submit", EXAMPLE, "--dry-run", "--json"]
    told = json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    assert told["runs"] == 20
    assert [(group["variant"], group["runs"]) for group in told["groups"]] == [("plain", 10), ("laser", 10)]
