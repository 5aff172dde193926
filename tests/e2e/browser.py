"""A real Chromium for the browser test and for docs/screenshots.py."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)


def executable() -> str | None:
    """Path of an installed browser."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser that calls nobody by itself."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), chromium_sandbox=False, args=list(QUIET))
        try:
            yield browser
        finally:
            browser.close()


def require_browser() -> None:
    """Skips the test where no browser is installed; fails it where one is required (REQUIRE_BROWSER=1)."""
    if executable() is None:
        reason = "no Chromium is installed (Debian: apt install chromium)"
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(f"REQUIRE_BROWSER=1, but {reason}")
        pytest.skip(reason)


@contextmanager
def watched(page: Page, url: str, refused: tuple[int, ...] = (422,)) -> Iterator[None]:
    """Fails for a console error, or a request to anywhere but the platform at ``url``.

    Chromium itself reports every refused request; those with a status in ``refused`` are what the test wants.
    """
    complaints: list[str] = []

    def request(request: Request) -> None:
        is_own = urlsplit(request.url).netloc == urlsplit(url).netloc
        if not is_own and not request.url.startswith(("data:", "blob:")):
            complaints.append(f"external request: {request.url}")

    page.on("console", lambda message: complaints.append(message.text) if _is_fault(message, refused) else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", request)
    yield
    assert complaints == []


def _is_fault(message: ConsoleMessage, refused: tuple[int, ...]) -> bool:
    return message.type == "error" and not any(f"status of {status}" in message.text for status in refused)
