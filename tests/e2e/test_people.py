"""Coming in by token, one's tokens, and an admin's pages, in a real browser against the API alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browser import chromium, executable
from tests.e2e.test_datasets import TRAIN

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(executable() is None and os.environ.get("REQUIRE_BROWSER") != "1", reason="no Chromium"),
]
PATIENCE_MS = 30_000
EXPERIMENT = {"name": "pairs", "margin": 2, "seeds": 1, "variants": {"a": {}, "b": {"store": {"kind": "laser"}}}}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """(address, the local user's token) of an API without broker and workers."""
    home = tmp_path_factory.mktemp("people")
    environment = {**os.environ, "LASER_HOME": str(home), "LASER_PORT": "0"}
    command = [sys.executable, "-m", "api"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            line = next(line for line in process.stderr if "running on" in line)
            url = line.partition("running on ")[2].split()[0]
            yield url, (home / "token").read_text().strip()
        finally:
            process.kill()


@pytest.fixture
def page(served: tuple[str, str]) -> Iterator[Page]:
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        yield page


def enter(page: Page, url: str, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()


def shot(page: Page, name: str) -> None:
    """Where LASER_TEST_SHOTS names a folder, a picture for whoever wants to look."""
    if folder := os.environ.get("LASER_TEST_SHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def test_people_come_in_make_tokens_and_admins_see_who_did_what(page: Page, served: tuple[str, str]) -> None:
    url, token = served
    page.goto(f"{url}/account")
    enter(page, url, "guess")
    expect(page.get_by_role("alert")).to_contain_text("no token which opens the door")
    shot(page, "login")
    enter(page, url, token)
    expect(page.get_by_test_id("nav-account")).to_be_visible()

    page.get_by_test_id("nav-account").click()
    page.get_by_test_id("token-name").fill("nightly")
    page.get_by_test_id("token-make").click()
    expect(page.get_by_test_id("once")).to_contain_text("nightly")
    row = page.get_by_test_id("tokens").get_by_role("row").filter(has_text="nightly")
    expect(row).to_contain_text("read")
    shot(page, "account")
    row.get_by_test_id("revoke").click()
    page.get_by_test_id("confirm-yes").click()
    expect(row).to_have_count(0)

    page.get_by_test_id("nav-admin").click()
    page.get_by_test_id("user-name").fill("ann@lab.example")
    page.get_by_test_id("user-add").click()
    expect(page.get_by_test_id("once")).to_contain_text("/login?code=")
    ann = page.get_by_test_id("user-row").filter(has_text="ann@lab.example")
    ann.get_by_label("Shares of").fill("2.5")
    ann.get_by_label("Shares of").blur()
    ann.get_by_test_id("user-disable").click()
    expect(ann.get_by_test_id("user-disable")).to_have_text("Enable")
    log = page.get_by_test_id("audit")
    for words in ("user.disable", "user.create", "token.revoke", "login: refused"):
        expect(log.get_by_text(words, exact=False).first).to_be_visible()
    expect(ann.get_by_label("Shares of")).to_have_value("2.5")
    for name, size, scheme in (("admin", (1280, 900), "dark"), ("admin-phone", (390, 844), "light")):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.set_viewport_size({"width": size[0], "height": size[1]})
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= size[0], f"{name} is {width} pixels wide"
        shot(page, name)
    page.goto(f"{url}/account")
    expect(page.get_by_test_id("tokens")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    shot(page, "account-phone")
    page.get_by_test_id("log-out").click()
    expect(page.get_by_label("Token")).to_be_visible()
    shot(page, "login-phone")


@pytest.fixture(scope="module")
def made(served: tuple[str, str]) -> dict[str, str]:
    """A run, an experiment, and how an admin and a viewer come in."""
    url, token = served
    with httpx.Client(base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {token}"}) as http:
        http.post("/datasets", files={"file": ("made.csv", TRAIN, "text/csv")}).raise_for_status()
        viewer = http.post("/users", json={"name": "vic", "role": "viewer"}).json()["id"]
        return {
            "run": http.post("/runs", json={"kind": "train"}).json()["id"],
            "experiment": http.post("/experiments", json=EXPERIMENT).json()["id"],
            "admin": http.post("/login-codes").json()["url"],
            "viewer": http.post("/login-codes", json={"user": viewer}).json()["url"],
            "read token": http.post("/tokens", json={"name": "reads", "scope": "read"}).json()["secret"],
        }


@pytest.mark.parametrize("who", ["admin", "viewer", "read token"])
def test_who_may_only_read_is_offered_no_change(
    page: Page, served: tuple[str, str], made: dict[str, str], who: str
) -> None:
    url, _ = served
    page.goto(url if who == "read token" else made[who])
    if who == "read token":
        enter(page, url, made[who])
    expect(page.get_by_test_id("live-dot")).to_be_visible()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(f"{request.method} {request.url}"))
    may_change = who == "admin"
    controls = {
        "/": ["nav-new", "tag-selected", "cancel-selected", "delete-selected", "views"],
        f"/runs/{made['run']}": ["clone", "pause", "cancel", "edit-tags", "edit-note"],
        "/experiments": ["new-sweep"],
        f"/experiments/{made['experiment']}": ["again", "cancel"],
        "/datasets": ["dropzone", "delete-dataset"],
        "/new": ["submit"],
        "/sweep": ["submit"],
        "/account": ["revoke"] if who == "read token" else [],  # a viewer may revoke the own ones
        "/admin": ["user-add"],
        "/compare": [],
        "/workers": [],
    }
    for path, tests in controls.items():
        page.goto(url + path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        if path == "/":
            page.get_by_label("Select all shown").click()
            expect(page.get_by_test_id("compare-selected")).to_be_visible()
        for test in tests:
            expect(page.get_by_test_id(test)).to_have_count(int(may_change))
        if not may_change:
            expect(page.get_by_test_id("read-only")).to_have_attribute(
                "title", re.compile("reads everything|only read")
            )
        shot(page, f"{who} {path.strip('/').partition('/')[0]}")
    assert may_change or all(each.startswith("GET ") for each in sent)
