"""The subspace explorer shows a real run's resets where the trace table has them, and the claims with an analysis's numbers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.platform import Platform
from tests.e2e.test_browser import page as page
from tests.e2e.test_browser import sign_in

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]
expect.set_options(timeout=90_000)  # a crowded machine draws a page in tens of seconds
ROW = 26  # pixels of a site in the heat-map
COLOUR = """(canvas, [x, y]) => {
  const ratio = canvas.width / canvas.clientWidth;
  return [...canvas.getContext("2d").getImageData(Math.round(x * ratio), Math.round(y * ratio), 1, 1).data.slice(0, 3)];
}"""


@pytest.fixture(scope="module")
def tracked(platform: Platform) -> str:
    """Id of a run whose bases turned so much that they were computed anew, with an analysis of it."""
    run_id = platform.submit(
        {
            "kind": "train",
            "name": "resets",
            "task": {"kind": "sudoku", "size": 4, "train_puzzles": 40, "test_puzzles": 20},
            "model": {"block": "mlp", "width": 16, "heads": 2, "layers": 1, "latent_steps": 2, "cycles": 2},
            "store": {"kind": "laser", "energy": 0.9, "update_every": 4, "patience": 1},
            "training": {
                "steps": 40,
                "batch_size": 16,
                "learning_rate": 1e-2,
                "warmup_steps": 2,
                "supervision_steps": 4,
            },
        }
    )
    assert platform.finished(run_id, 400)["state"] == "succeeded"
    analysis = {"kind": "analysis", "checkpoint": run_id, "max_puzzles": 8, "controls": False, "tracking_steps": 5}
    ended = platform.finished(platform.submit({**analysis, "supervision_steps": 2, "dimension_points": 0}), 400)
    assert ended["state"] == "succeeded", ended["reason"]
    return run_id


def test_reset_marks_stand_at_the_steps_of_the_trace_table(platform: Platform, tracked: str, page: Page) -> None:
    sign_in(page, platform)
    page.goto(f"{platform.url}/runs/{tracked}?tab=subspace")
    heatmap = page.get_by_test_id("heatmap-rank")
    expect(heatmap).to_be_visible()
    for mark in ("grow", "shrink", "fallback"):  # they would cover resets of steps nearby
        if page.get_by_test_id(f"mark-{mark}").count():
            page.get_by_test_id(f"mark-{mark}").click()
    sites = in_order(platform.answer("GET", f"/runs/{tracked}/traces")["sites"])
    layout = json.loads(str(heatmap.get_attribute("data-layout")))
    red = page.evaluate(
        "() => { const e = document.createElement('i'); e.style.color = 'var(--bad)'; document.body.append(e);"
        " const c = getComputedStyle(e).color; e.remove(); return c.match(/\\d+/g).map(Number); }"
    )
    resets = 0
    for row, site in enumerate(sites):
        at = [step for step, event in zip(site["steps"], site["events"], strict=True) if event == "reset"]
        resets += len(at)
        for step in site["steps"]:
            x = x_of(layout, step)
            if x < layout["width"] - 8 and all(step in at or abs(x - x_of(layout, other)) > 10 for other in at):
                assert (colour(heatmap, x, row) == red) == (step in at), (site["site"], step)
    assert resets > 0


def test_a_cell_opens_its_spectrum_and_its_recursion_steps(platform: Platform, tracked: str, page: Page) -> None:
    sign_in(page, platform)
    page.goto(f"{platform.url}/runs/{tracked}?tab=subspace")
    heatmap = page.get_by_test_id("heatmap-rank")
    expect(heatmap).to_be_visible()
    sites = in_order(platform.answer("GET", f"/runs/{tracked}/traces")["sites"])
    site, update = next(
        (site, index)
        for site in sites
        for index, event in enumerate(site["events"])
        if event in ("update", "shrink", "grow")
    )
    heatmap.focus()
    for _ in range(sites.index(site)):
        page.keyboard.press("ArrowDown")
    for _ in range(update):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    told = platform.answer(
        "GET", f"/runs/{tracked}/spectrum", params={"site": site["site"], "step": site["steps"][update]}
    )
    expect(page.get_by_test_id("picked")).to_contain_text(f"{told['event']}, rank {told['rank']} of {told['width']}")
    expect(page.get_by_test_id("scree").locator("title")).to_have_count(len(told["energies"]))
    expect(page.get_by_test_id("profile").locator("li")).to_have_count(len(told["fidelities"]))
    assert told["fidelities"]


def test_the_claims_are_those_of_the_analysis(platform: Platform, tracked: str, page: Page) -> None:
    sign_in(page, platform)
    page.goto(f"{platform.url}/runs/{tracked}?tab=subspace")
    (analysis,) = platform.answer("GET", "/runs", params={"kind": "analysis"})["items"]
    verdicts = json.loads(analysis["result"]["notes"]["verdicts"])
    rows = page.get_by_test_id("subspace-claims").get_by_test_id("verdict")
    expect(rows).to_have_count(len(verdicts))
    for row, verdict in zip(rows.all(), verdicts, strict=True):
        expect(row).to_contain_text(verdict["statement"])
        expect(row).to_contain_text(verdict["answer"])


def in_order(sites: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The sites of one layer as a block computes them, as the page shows them."""
    parts = ["qkv", "o", "gate_up", "down", "h", "h1", "h2"]
    return sorted(sites, key=lambda site: (site["site"].rpartition(".")[0], parts.index(site["site"].split(".")[-1])))


def x_of(layout: dict[str, float], step: int) -> float:
    room = layout["width"] - layout["labelWidth"] - 8
    return layout["labelWidth"] + (step - layout["first"]) / (layout["last"] - layout["first"]) * room


def colour(heatmap: Locator, x: float, row: int) -> list[int]:
    found: list[int] = heatmap.evaluate(COLOUR, [x, row * ROW + ROW / 2])
    return found
