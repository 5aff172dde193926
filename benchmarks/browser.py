"""First paint and interaction times in Chromium with 100,000 runs and a curve of a million points.

    python -m benchmarks.browser [--home DIR] [--rounds 5] [--out docs/results/browser.json]

``--home`` is a LASER_HOME that benchmarks.seed has filled; without it one is seeded first. Each page is opened in a fresh
browser context, so nothing is cached. A time ends with the frame that shows what was asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import platform as machine
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import Browser, Page

from benchmarks.seed import LONG_NAME, seed
from store import database
from store.settings import Settings
from tests.e2e.browser import chromium
from tests.e2e.platform import Platform, start_platform, stop_platform

# Resolves with the milliseconds since ``start`` once the condition holds and the frame that shows it has been drawn.
SHOWN = """([condition, start]) => new Promise((resolve) => {
  const holds = new Function(`return ${condition}`);
  const drawn = () => requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - start)));
  const look = () => (holds() ? drawn() : requestAnimationFrame(look));
  look();
})"""
ROWS = "document.querySelector('[data-testid=run-row]')"
HEADING = "document.querySelector('h1 + div')?.textContent"
CURVE = "document.querySelector('[data-testid=chart-loss] canvas')?.width > 0"


def shown_ms(page: Page, condition: str, start: float = 0.0) -> float:
    """Milliseconds from ``start`` on the page's clock (0: the navigation) until the condition holds on the screen."""
    return float(page.evaluate(SHOWN, [condition, start]))


def first_paint(browser: Browser, platform: Platform, state: Any, path: str, condition: str) -> float:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, storage_state=state)
    page = context.new_page()
    page.goto(platform.url + path, wait_until="commit")
    took = shown_ms(page, condition)
    context.close()
    return took


def acted(page: Page, act: Callable[[], None], condition: str) -> float:
    """From the act's event until its outcome is on the screen."""
    start = float(page.evaluate("performance.now()"))
    act()
    return shown_ms(page, condition, start)


def interactions(page: Page, url: str) -> dict[str, float]:
    """Sorting and filtering the list; its numbers differ from one question to the next, so that an answer is seen."""
    page.goto(url)
    shown_ms(page, ROWS)
    first = "document.querySelector('[data-testid=run-row]')?.dataset.run"
    before = page.evaluate(f"() => {first}")
    times = {
        "sort by a metric": acted(page, page.get_by_test_id("sort-exact").click, f"{first} !== {json.dumps(before)}"),
    }
    page.goto(url)
    shown_ms(page, ROWS)
    total = page.evaluate(f"() => {HEADING}")
    box = page.get_by_test_id("filter-text")
    for name, text in FILTERS.items():
        box.fill(text)
        times[name] = acted(page, lambda: box.press("Enter"), f"{HEADING} !== {json.dumps(total)}")
        total = page.evaluate(f"() => {HEADING}")
    return times


FILTERS = {
    "filter by state and tag": "state:failed tag:ablation",
    "filter by a metric": "metric.exact_accuracy>0.99",
    "filter by the configuration": "config.model.width=64",
}


def zoom(page: Page, url: str) -> float:
    """From letting the mouse go after marking a span of the long curve until the chart is drawn anew."""
    page.goto(url)
    shown_ms(page, CURVE)
    page.wait_for_timeout(1000)
    area = page.get_by_test_id("chart-loss").locator(".u-over").first
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    assert box is not None
    picture = "document.querySelector('[data-testid=chart-loss] canvas').toDataURL()"
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 40, steps=4)
    before = page.evaluate(f"() => {picture}")
    return acted(page, page.mouse.up, f"{picture} !== {json.dumps(before)}")


def measure(platform: Platform, long_run: str, rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {}
    with chromium() as browser:
        context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
        page = context.new_page()
        page.goto(platform.answer("POST", "/login-codes")["url"])
        state = context.storage_state()
        for number in range(rounds + 1):  # the first is a warm-up of the server
            made = {
                "first paint of the run list": first_paint(browser, platform, state, "/", ROWS),
                "first paint of a run": first_paint(browser, platform, state, f"/runs/{long_run}", CURVE),
                **interactions(page, platform.url),
                "zoom": zoom(page, f"{platform.url}/runs/{long_run}"),
            }
            for name, took in made.items() if number else ():
                times.setdefault(name, []).append(round(took, 1))
            print(number, {name: round(took) for name, took in made.items()}, flush=True)
    return times


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--home", type=Path)
    arguments.add_argument("--runs", type=int, default=100_000)
    arguments.add_argument("--points", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--out", type=Path, default=Path("docs/results/browser.json"))
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="laser-") as folder:
        home = options.home or Path(folder) / "home"
        if options.home is None:
            engine = database.connect(Settings(home=home).database_url)
            database.migrate(engine)
            seed(engine, options.runs, options.points)
            engine.dispose()
        load = os.getloadavg()[0]
        platform = start_platform(home)
        try:
            found = platform.answer("GET", "/runs", params={"filter": f'name="{LONG_NAME}"'})["items"]
            times = measure(platform, found[0]["id"], options.rounds)
            total = platform.answer("GET", "/runs", params={"limit": 1})["total"]
        finally:
            stop_platform(platform)
    report = {
        "command": f"python -m benchmarks.browser --rounds {options.rounds}",
        "when": time.strftime("%Y-%m-%d"),
        "hardware": {"cores": os.cpu_count(), "machine": machine.machine(), "load_before": round(load, 1)},
        "runs": total,
        "points": options.points,
        "median_ms": {name: median(values) for name, values in times.items()},
        "ms": times,
    }
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report["median_ms"], indent=1))


if __name__ == "__main__":
    main()
