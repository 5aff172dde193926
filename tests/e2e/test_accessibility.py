"""Every page by axe-core, light and dark, wide and narrow; and a run from the form to its end by the keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.browser import chromium, require_browser, watched
from tests.e2e.platform import FINAL, Platform, eventually
from tests.e2e.test_browser import SMALL

pytestmark = [pytest.mark.browser, pytest.mark.slow]

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
SIZES = {"wide": {"width": 1440, "height": 900}, "narrow": {"width": 390, "height": 844}}
TINY = {
    "kind": "train",
    "task": {"kind": "sudoku", "size": 4, "train_puzzles": 40, "test_puzzles": 20},
    "model": {"width": 16, "heads": 2, "latent_steps": 2, "cycles": 2},
    "training": {"steps": 60, "batch_size": 8, "warmup_steps": 5, "log_every": 1},
}
RUN_TABS = ("charts", "subspace", "memory", "logs", "config", "events", "files")
CHECK = """async () => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  return found.violations.filter((each) => ["serious", "critical"].includes(each.impact)).map((each) =>
    `${each.id}: ${each.help}; ${each.nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(" | ")}`);
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    require_browser()
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def paths(platform: Platform) -> dict[str, str]:
    """Address of every page by name, with two runs that have been trained."""
    run, other = (platform.submit(TINY | {"store": {"kind": kind}, "tags": ["seen"]}) for kind in ("laser", "none"))
    for each in (run, other):
        assert platform.finished(each, 600)["state"] == "succeeded"
    platform.answer(
        "PATCH", f"/runs/{run}", json={"note": "# Why\n\nTo *see* [more](/new).\n\n| a | b |\n|---|---|\n| 1 | `2` |"}
    )
    paths = {"runs": "/", "columns": "/?col=state&col=seed&col=metric.train.loss&col=config.training.steps"}
    paths |= {"no match": "/?filter=tag:nothing", "bad filter": "/?filter=state:walking"}
    paths |= {tab: f"/runs/{run}?tab={tab}" for tab in RUN_TABS}
    paths |= {"new": "/new", "compare": f"/compare?run={run}&run={other}", "pick": "/compare"}
    paths |= {"datasets": "/datasets", "pool": "/workers", "nothing here": "/nowhere"}
    return paths


@pytest.mark.timeout(900)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_violation(
    platform: Platform, browser: Browser, paths: dict[str, str], scheme: Any, size: str
) -> None:
    context = browser.new_context(viewport=SIZES[size], color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    page.goto(platform.answer("POST", "/login-codes")["url"])
    violations = {}
    with watched(page, platform.url):
        for name, path in paths.items():
            page.goto(platform.url + path)
            expect(page.locator("main :is(h1, p)").first).to_be_visible(timeout=30_000)
            expect(page.locator(".mantine-Skeleton-root")).to_have_count(0, timeout=30_000)
            page.evaluate(AXE.read_text(encoding="utf-8"))
            if found := page.evaluate(CHECK):
                violations[name] = found
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} scrolls sideways"
    context.close()
    assert not violations, "\n".join(f"{name}: {line}" for name, lines in violations.items() for line in lines)


def test_a_run_is_submitted_opened_and_cancelled_by_the_keyboard(platform: Platform, browser: Browser) -> None:
    page = browser.new_page(viewport=SIZES["wide"])
    page.set_default_timeout(30_000)
    with watched(page, platform.url):
        page.goto(platform.answer("POST", "/login-codes")["url"])
        expect(page.get_by_test_id("nav-new").first).to_be_visible()
        press_on(page, page.get_by_test_id("nav-new").first)
        expect(page.get_by_test_id("preset-sudoku-4x4-laser-fused")).to_be_visible()
        press_on(page, page.get_by_test_id("preset-sudoku-4x4-laser-fused"))
        for field, value in {**SMALL, "name": "by keyboard", "training.steps": "100000"}.items():
            reach(page, page.get_by_test_id(f"field-{field}"))
            page.keyboard.press("Control+a")
            page.keyboard.type(value)
        press_on(page, page.get_by_test_id("submit"))
        page.wait_for_url("**/runs/r_*")
        run_id = urlsplit(page.url).path.rsplit("/", 1)[-1]
        page.goto(platform.url)
        box = page.get_by_test_id("filter-text")
        reach(page, box)
        page.keyboard.type('name~"by key')
        page.keyboard.type('board"')
        page.keyboard.press("Enter")
        row = page.get_by_test_id("run-row")
        expect(row).to_have_count(1)
        press_on(page, row.get_by_test_id("run-link"))
        expect(page.get_by_test_id("run-name")).to_have_text("by keyboard")
        press_on(page, page.get_by_test_id("cancel"))
        expect(page.get_by_test_id("confirm-yes")).to_be_focused()
        page.keyboard.press("Enter")
        eventually("the run's end", lambda: platform.run(run_id)["state"] in FINAL)
        assert platform.run(run_id)["state"] == "cancelled"
    page.close()


def reach(page: Page, element: Any) -> None:
    """Tab until ``element``, or a control in it, has the focus; it must be seen to have it."""
    has_focus = "each => each === document.activeElement || each.contains(document.activeElement)"
    element.wait_for()
    for _ in range(150):
        if element.evaluate(has_focus):
            assert page.evaluate("document.activeElement.matches(':focus-visible')")
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never reaches {element}")


def press_on(page: Page, element: Any) -> None:
    reach(page, element)
    page.keyboard.press("Enter")
