"""Every page and tab by axe-core, light and dark, wide and narrow; a run, an experiment and the player by keyboard alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect

from tests.e2e.browser import chromium, require_browser, watched
from tests.e2e.platform import FINAL, Platform, eventually
from tests.e2e.test_browser import SMALL
from tests.e2e.test_datasets import TRAIN

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]

WEB = Path(__file__).parents[2] / "web"
AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"
SIZES: dict[str, ViewportSize] = {"wide": {"width": 1440, "height": 900}, "narrow": {"width": 390, "height": 844}}
EXPERIMENT = {
    "name": "seen",
    "margin": 5,
    "seeds": 2,
    "variants": {"plain": {"store": {"kind": "none"}}, "laser": {"store": {"kind": "laser", "update_every": 5}}},
    "base": {
        "task": {"kind": "sudoku", "size": 4, "train_puzzles": 40, "test_puzzles": 20},
        "model": {"width": 16, "heads": 2, "latent_steps": 2, "cycles": 2},
        "training": {"steps": 40, "batch_size": 8, "warmup_steps": 5, "log_every": 1},
        "tags": ["seen"],
    },
}
ANALYSIS = {"max_puzzles": 8, "controls": False, "tracking_steps": 5, "supervision_steps": 2, "dimension_points": 0}
NOTE = "# Why\n\nTo *see* [more](/new).\n\n| a | b |\n|---|---|\n| 1 | `2` |"
PUZZLE = "12..34....43..21"
# By test id: what shows that a page has what it is for; a tab must show its panel, any other page a heading or a paragraph.
SHOWS = {
    "experiments": "experiment-row",
    "experiment": "pair-plot",
    "sweep": "estimate",
    "again": "estimate",
    "subspace": "verdicts",
    "reasoning": "player",
    "found": "player",
    "claims": "verdicts",
    "admin": "audit",
    "account": "tokens",
    "a cell": "scree",
    "views": "save-view",
    "delete": "confirm-yes",
}
PRESSED = {"a cell": "heatmap-rank", "views": "views", "delete": "delete"}
PATIENCE_MS = 30_000
SETTLED = """async (scheme) => {
  const root = document.documentElement;
  const next = () => new Promise(requestAnimationFrame);
  while ((root.dataset.mantineColorScheme ?? scheme) !== scheme) await next();
  await next();
}"""
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
    """Address of every page by name: an experiment of two pairs, an analysis and inspections of its runs stand behind them."""
    experiment = platform.answer("POST", "/experiments", json=EXPERIMENT)["id"]
    report = f"/experiments/{experiment}"
    eventually("the experiment's end", lambda: platform.answer("GET", report)["is_over"], 600)
    plain, laser = (
        {run["seed"]: run["run_id"] for run in each["runs"]}[0] for each in platform.answer("GET", report)["groups"]
    )
    asked = [ANALYSIS | {"kind": "analysis", "checkpoint": laser}]
    asked += [{"kind": "inspect", "checkpoint": run, "puzzle": PUZZLE} for run in (laser, plain)]
    analysis, found, _ = [platform.submit(config) for config in asked]
    platform.answer("PATCH", f"/runs/{laser}", json={"note": NOTE})
    platform.answer("POST", "/views", json={"name": "kept", "filter": "tag:seen"})
    platform.answer("POST", "/users", json={"name": "ann", "role": "viewer"})
    dataset = platform.answer("POST", "/datasets", files={"file": ("made.csv", TRAIN, "text/csv")})["id"]
    for each in (analysis, found):
        assert platform.finished(each, 300)["state"] == "succeeded"
    run = f"/runs/{laser}"
    return {tab: f"{run}?tab={tab}" for tab in tabs()} | {
        "runs": "/",
        "columns": "/?col=state&col=seed&col=metric.train.loss&col=config.training.steps",
        "no match": "/?filter=tag:nothing",
        "bad filter": "/?filter=state:walking",
        "views": "/",
        "a cell": f"{run}?tab=subspace",
        "reasoning": f"{run}?tab=reasoning&puzzle={PUZZLE}&beside={plain}&at=4",
        "found": f"/runs/{found}?tab=reasoning",
        "claims": f"/runs/{analysis}?tab=claims",
        "delete": run,
        "new": "/new",
        "compare": f"/compare?run={laser}&run={plain}",
        "pick": "/compare",
        "experiments": "/experiments",
        "experiment": report,
        "sweep": "/sweep",
        "again": f"/sweep?from={experiment}",
        "datasets": "/datasets",
        "preview": f"/datasets?id={dataset}",
        "pool": "/workers",
        "account": "/account",
        "admin": "/admin",
        "nothing here": "/nowhere",
    }


def tabs() -> list[str]:
    """Of a run's page, by name."""
    return re.findall(r'{ name: "(\w+)", label: ', (WEB / "src/run/RunPage.tsx").read_text(encoding="utf-8"))


def test_every_route_is_walked(paths: dict[str, str]) -> None:
    routes = re.findall(r'\bpath: "([^"]+)"', (WEB / "src/router.tsx").read_text(encoding="utf-8"))
    assert len(routes) > 10
    assert len(tabs()) > 8
    walked = [urlsplit(path).path for path in paths.values()]
    missed = [
        route for route in routes if not any(re.fullmatch(re.sub(r"\$\w+", "[^/]+", route), path) for path in walked)
    ]
    assert not missed, f"no address of these routes is in `paths`: {missed}"


@pytest.mark.parametrize("size", SIZES)
def test_no_page_has_a_serious_violation(
    platform: Platform, browser: Browser, paths: dict[str, str], size: str
) -> None:
    page = page_of(browser, size)
    violations: list[str] = []
    with watched(page, platform.url):
        page.goto(platform.answer("POST", "/login-codes")["url"])
        for name, path in paths.items():
            page.goto(platform.url + path)
            if name in PRESSED:
                page.get_by_test_id(PRESSED[name]).click()
            shown = SHOWS.get(name) or (f"panel-{name}" if name in tabs() else None)
            violations += looked(page, name, page.get_by_test_id(shown) if shown else page.locator("main :is(h1, p)"))
    page.context.close()
    assert not violations, "\n".join(violations)


@pytest.mark.parametrize("size", SIZES)
def test_no_way_in_has_a_serious_violation(platform: Platform, browser: Browser, size: str) -> None:
    page = page_of(browser, size)
    with watched(page, platform.url, refused=(401,)):
        page.goto(platform.url)
        violations = looked(page, "login", page.get_by_label("Token"))
        page.get_by_label("Token").fill("guess")
        page.get_by_role("button", name="Log in").click()
        violations += looked(page, "login refused", page.get_by_role("alert"))
        page.goto(platform.answer("POST", "/login-codes")["url"])
        expect(page.locator("main h1")).to_be_visible(timeout=PATIENCE_MS)
        page.context.clear_cookies()
        violations += looked(page, "signed out", page.get_by_test_id("signed-out"))
    page.context.close()
    assert not violations, "\n".join(violations)


def page_of(browser: Browser, size: str) -> Page:
    context = browser.new_context(viewport=SIZES[size], reduced_motion="reduce")
    context.add_init_script(path=AXE)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    return page


def looked(page: Page, name: str, shown: Locator) -> list[str]:
    """Violations in light and in dark, once ``shown`` is there; also where the page can be scrolled sideways."""
    expect(shown.first).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator(".mantine-Skeleton-root")).to_have_count(0, timeout=PATIENCE_MS)
    found = [] if page.evaluate("document.documentElement.scrollWidth <= innerWidth") else [f"{name}: scrolls sideways"]
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.evaluate(SETTLED, scheme)
        found += [f"{name}, {scheme}: {line}" for line in page.evaluate(CHECK)]
    return found


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


def test_an_experiment_and_the_player_are_reached_by_the_keyboard(
    platform: Platform, browser: Browser, paths: dict[str, str]
) -> None:
    page = page_of(browser, "wide")
    with watched(page, platform.url):
        page.goto(platform.answer("POST", "/login-codes")["url"])
        press_on(page, page.get_by_test_id("nav-experiments").first)
        press_on(page, page.get_by_test_id("experiment-row").get_by_role("link"))
        expect(page.get_by_test_id("pair-plot")).to_be_visible()
        press_on(page, page.get_by_test_id("members").get_by_role("link").first)
        reach(page, page.get_by_test_id("tab-charts"))
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        reach(page, page.get_by_test_id("puzzle-text"))
        page.keyboard.type(PUZZLE)
        press_on(page, page.get_by_test_id("follow-own"))
        slider = page.get_by_test_id("player").get_by_role("slider")
        reach(page, slider)
        page.keyboard.press("Home")
        expect(page.get_by_test_id("position")).to_contain_text("Supervision step 1, cycle 1 of 2, latent 1 of 2")
        page.keyboard.press("Shift+ArrowRight")
        expect(page.get_by_test_id("position")).to_contain_text("Supervision step 1, cycle 2 of 2, answer")
    page.context.close()


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
