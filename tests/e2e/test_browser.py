"""What a person does: sign in, fill in the form, watch the chart move, see the run succeed."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from laser_core.config import parse_run
from laser_core.events import Log
from store import claims, database, workers
from store.ingest import ingest
from store.requests import Request
from store.settings import Settings
from store.states import State
from store.submit import create_run
from tests.e2e.browser import chromium, require_browser, watched
from tests.e2e.platform import Platform, eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow]
DIFF = """diff --git a/train.py b/train.py
index 1111111..2222222 100644
--- a/train.py
+++ b/train.py
@@ -1,2 +1,2 @@ def train():
 same
-old
+<img src=x onerror=alert(1)>\x1b[31m\u202e
"""
CHECKOUT = {
    "commit": "c" * 40,
    "branch": "main",
    "remote": "https://host/x.git",
    "changed": 2,
    "untracked": 3,
    "left_out": 1,
    "untracked_names": ["notes.txt"],
    "left_out_files": [{"path": ".env", "why": "looks like a secret"}],
    "diff": base64.b64encode(DIFF.encode()).decode(),
}
SMALL = {
    "name": "from the form",
    "task.train_puzzles": "40",
    "task.test_puzzles": "20",
    "model.width": "16",
    "training.steps": "300",
    "training.batch_size": "8",
    "training.log_every": "1",
}


@pytest.fixture
def page(platform: Platform) -> Iterator[Page]:
    """A page that fails the test for a console error or a request to anywhere but this platform."""
    require_browser()
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(30_000)
        with watched(page, platform.url):
            yield page


def sign_in(page: Page, platform: Platform) -> None:
    page.goto(platform.answer("POST", "/login-codes")["url"])


def picture(page: Page, chart: str) -> str:
    """The pixels of a chart's canvas."""
    return str(page.get_by_test_id(f"chart-{chart}").locator("canvas").first.evaluate("canvas => canvas.toDataURL()"))


def test_nothing_is_shown_to_a_stranger(platform: Platform) -> None:
    for path in ("/", "/runs/r_x", "/assets/index.js", "/docs", "/openapi.json", "/api/v1/runs"):
        answer = platform.http.get(f"{platform.url}{path}", headers={"Authorization": "", "Accept": "text/html"})
        assert answer.status_code == 401, path
    assert "laser open" in platform.http.get(platform.url, headers={"Authorization": "", "Accept": "text/html"}).text


def test_from_sign_in_to_a_finished_run(platform: Platform, page: Page) -> None:
    sign_in(page, platform)
    page.get_by_test_id("nav-new").first.click()
    page.get_by_test_id("preset-sudoku-4x4-laser-fused").click()
    for field, value in SMALL.items():
        page.get_by_test_id(f"field-{field}").fill(value)
    page.get_by_test_id("submit").click()
    page.wait_for_url("**/runs/r_*")
    run_id = urlsplit(page.url).path.rsplit("/", 1)[-1]

    eventually("a few points", lambda: platform.run(run_id)["step"] >= 10)
    before = picture(page, "loss")
    eventually("a moving chart", lambda: picture(page, "loss") != before, 30)
    expect(page.get_by_test_id("state-badge").first).to_have_text("succeeded", timeout=90_000)

    page.get_by_test_id("tab-subspace").click()
    expect(page.get_by_test_id("heatmap-rank")).to_be_visible()
    page.get_by_test_id("tab-memory").click()
    expect(page.get_by_test_id("memory-headline")).to_contain_text("%")
    expect(page.get_by_text("By recursion step")).to_be_visible()
    page.get_by_test_id("tab-logs").click()
    expect(page.get_by_test_id("log")).to_be_visible()
    page.get_by_test_id("tab-config").click()
    expect(page.get_by_test_id("ran-with")).to_contain_text("attempt")
    expect(page.get_by_test_id("ran-with")).not_to_contain_text("submitted from")
    page.goto(platform.url)
    expect(page.get_by_test_id("run-row").filter(has_text="from the form")).to_contain_text("succeeded")


def test_what_a_run_was_submitted_from(platform: Platform, page: Page) -> None:
    sign_in(page, platform)
    config = {"kind": "train", "training": {"steps": 100_000}}
    run_id = platform.submit({"config": config, "checkout": CHECKOUT})
    page.goto(f"{platform.url}/runs/{run_id}?tab=config")
    expect(page.get_by_test_id("ran-with")).to_contain_text("cccccccccc on main, with 2 changed files, 1 not kept")
    changes = page.get_by_test_id("changes")
    changes.locator("summary").click()
    expect(changes).to_contain_text(f"laser checkout {run_id} | git apply")
    expect(changes).to_contain_text(".env (looks like a secret)")
    expect(changes).to_contain_text("notes.txt and 2 more")
    expect(changes.locator("[data-kind='-']")).to_have_text("-old")
    expect(changes.locator("[data-kind='+']")).to_have_text("+<img src=x onerror=alert(1)>␛[31m⟨U+202E⟩")
    platform.answer("POST", f"/runs/{run_id}/cancel")


def test_the_form_says_what_is_wrong(platform: Platform, page: Page) -> None:
    sign_in(page, platform)
    page.goto(f"{platform.url}/new")
    page.get_by_test_id("preset-sudoku-6x6").click()  # attention: its heads must divide the width
    page.get_by_test_id("field-model.heads").fill("3")
    page.get_by_test_id("submit").click()
    expect(page.get_by_test_id("form-problems")).to_contain_text("must divide width")


def test_a_long_log_shows_its_newest_lines(platform: Platform, page: Page) -> None:
    settings = Settings(home=platform.home).model_copy(update={"pools": "nobodys"})
    engine = database.connect(settings.database_url)
    config, mine = parse_run({"kind": "train"}), platform.answer("GET", "/me")["id"]
    run_id = create_run(engine, config, mine, request=Request(pool="nobodys"))[0].id
    claim = claims.claim_run(engine, "speaker", 600, settings=settings)
    assert claim is not None
    ingest(engine, run_id, claim.epoch, 0, 1, [Log(f"line {number}") for number in range(5_400)])

    sign_in(page, platform)
    page.goto(f"{platform.url}/runs/{run_id}?tab=logs")
    log = page.get_by_test_id("log")
    expect(log).to_contain_text("line 5399")
    expect(page.get_by_text("the newest 5,000 lines")).to_be_visible()
    expect(page.get_by_text(f"laser logs {run_id}")).to_be_visible()
    log.evaluate("box => { box.scrollTop = box.scrollHeight / 2 }")  # who reads is left where they are
    expect(page.get_by_test_id("log-follow")).not_to_be_checked()
    expect(log.get_by_text("line 2900", exact=True)).to_be_in_viewport()
    ingest(engine, run_id, claim.epoch, 1, 2, [Log(f"line {number}") for number in range(5_400, 6_000)])
    expect(page.get_by_text("the newest 5,100 lines")).to_be_visible()  # 500 at once were dropped
    expect(log.get_by_text("line 2900", exact=True)).to_be_in_viewport()
    page.get_by_role("button", name="Newest").click()
    expect(log).to_contain_text("line 5999")
    page.get_by_test_id("log-search").fill("line 599")
    expect(page.get_by_text("10 of the newest")).to_be_visible()
    claims.finish(engine, run_id, claim.epoch, State.failed, "enough said")
    engine.dispose()


def test_a_run_that_waits_for_a_full_disk_says_so(platform: Platform, page: Page) -> None:
    engine = database.connect(Settings(home=platform.home).database_url)
    lives = time.time() + 600  # beats no more
    about = ("w-full", "full", 7, 1, "cpu", "1", ("nobodys",))
    workers.register(engine, *about, unable="9 MiB free, 512 wanted", now=lives)
    mine = platform.answer("GET", "/me")["id"]
    run_id = create_run(engine, parse_run({"kind": "train"}), mine, request=Request(pool="nobodys"))[0].id
    why = "no worker takes it: w-full has 9 MiB free, 512 wanted"

    sign_in(page, platform)
    page.goto(f"{platform.url}/workers")
    expect(page.get_by_test_id("worker-unable")).to_have_text("9 MiB free, 512 wanted")
    expect(page.get_by_text(why)).to_be_visible()
    page.goto(f"{platform.url}/runs/{run_id}")
    expect(page.get_by_text(why)).to_be_visible()
    platform.answer("POST", f"/runs/{run_id}/cancel")
    engine.dispose()
