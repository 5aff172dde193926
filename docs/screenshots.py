"""Pictures of every page, taken from a running platform with real runs: `make screenshots`.

    python docs/screenshots.py [--home DIR] [--only NAME…]

Without ``--home`` a demo is trained in a temporary home first; with it the runs of that LASER_HOME are shown. What the
pictures need beyond them (puzzles followed, an analysis, a dataset, runs that wait) is added.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize

sys.path.insert(0, str(Path(__file__).parents[1]))

from client.home import Home
from tests.e2e.browser import chromium
from tests.e2e.platform import LASER, Platform, eventually, start_platform, stop_platform
from tests.e2e.test_datasets import TRAIN

IMAGES = Path(__file__).parent / "images"
LAPTOP, PHONE = ViewportSize(width=1440, height=900), ViewportSize(width=390, height=844)
LOOKS: dict[str, tuple[Any, ViewportSize]] = {
    "light": ("light", LAPTOP),
    "dark": ("dark", LAPTOP),
    "phone": ("light", PHONE),
}
COLOURS = 200  # enough for every page; a third of the bytes
SETTLED = "!document.querySelector('.mantine-Skeleton-root')"


def pages(platform: Platform) -> dict[str, str]:
    """Path of each page by the name of its picture; shows the demo's first LASER run."""
    run, plain = (
        platform.answer("GET", "/runs", params={"tag": "demo", "store": store, "limit": 1})["items"][0]["id"]
        for store in ("laser-fused", "none")
    )
    analysis = platform.submit({"kind": "analysis", "checkpoint": run, "max_puzzles": 64})
    puzzle = inspected(platform, run, plain)
    dataset = platform.answer("POST", "/datasets", files={"file": ("made.csv", TRAIN, "text/csv")})["id"]
    assert platform.finished(analysis, 600)["state"] == "succeeded"
    tabs = {
        tab: f"/runs/{run}?tab={tab}" for tab in ("charts", "subspace", "memory", "logs", "config", "events", "files")
    }
    experiment = platform.answer("GET", "/experiments")["items"][0]["id"]
    return tabs | {
        "runs": "/",
        "compare": "/compare?tag=demo",
        "pick": "/compare",
        "experiments": "/experiments",
        "experiment": f"/experiments/{experiment}",
        "sweep": "/sweep",
        "spectrum": tabs["subspace"],
        "reasoning": f"/runs/{run}?tab=reasoning&puzzle={puzzle}&beside={plain}&at=40",
        "claims": f"/runs/{analysis}?tab=claims",
        "new": "/new",
        "datasets": f"/datasets?id={dataset}",
        "account": "/account",
        "admin": "/admin",
    }


def inspected(platform: Platform, run: str, plain: str) -> str:
    """The first test puzzle of ``run``, which both runs have answered then."""
    first = platform.submit({"kind": "inspect", "checkpoint": run})
    platform.finished(first)
    question: str = platform.answer("GET", f"/runs/{first}/inspection")["question"]
    for checkpoint in (run, plain):
        platform.finished(platform.submit({"kind": "inspect", "checkpoint": checkpoint, "puzzle": question}))
    return question


def train_demo(home: Path, platform: Platform) -> None:
    """The demo's runs, and more than one user."""
    environment = {**os.environ, "LASER_HOME": str(home)}
    eventually("the word where it runs", lambda: (running := Home(home).running()) and running.url)
    subprocess.run([LASER, "demo", "--report", f"{home.parent}/report.json"], env=environment, check=True)
    for name, role in (("ann@lab.example", "member"), ("ben@lab.example", "viewer")):
        platform.answer("POST", "/users", json={"name": name, "role": role})
        platform.answer("POST", "/tokens", json={"name": "nightly", "user": name})


@contextmanager
def busy(platform: Platform) -> Iterator[None]:
    """Runs that train and runs that wait, of everybody who may queue some; taken away afterwards."""
    made, tokens = [], []
    long = {"kind": "train", "training": {"steps": 20_000}, "task": {"kind": "sudoku", "size": 4}}
    for user in platform.answer("GET", "/users")["items"]:
        if user["role"] == "viewer" or user["disabled_at"] is not None:
            continue
        token = platform.answer("POST", "/tokens", json={"name": "pictures", "user": user["id"], "scope": "all"})
        tokens.append(token["token"]["id"])
        headers = {"Authorization": f"Bearer {token['secret']}"}
        with httpx.Client(base_url=f"{platform.url}/api/v1", headers=headers) as http:
            for seed, priority in enumerate(("normal", "normal", "high")):
                config = long | {"name": f"long, seed {seed}", "seed": seed}
                made.append(http.post("/runs", params={"priority": priority}, json=config).json()["id"])
    eventually("steps", lambda: any(run["step"] > 20 for run in platform.answer("GET", "/runs?state=running")["items"]))
    yield
    for run in made:
        platform.answer("POST", f"/runs/{run}/cancel")
    for run in made:
        platform.finished(run)
        platform.answer("DELETE", f"/runs/{run}")
    for token in tokens:
        platform.answer("DELETE", f"/tokens/{token}")


def pick_cell(page: Page) -> None:
    """A late update of the third site, and the pointer on it."""
    heatmap = page.get_by_test_id("heatmap-rank")
    box = heatmap.bounding_box()
    assert box
    heatmap.click(position={"x": box["width"] * 0.7, "y": 70})
    page.get_by_test_id("scree").wait_for()
    page.get_by_test_id("picked").evaluate("each => each.scrollIntoView({ block: 'end' })")


def leave_out_path(page: Page) -> None:
    """The local user's token is named by its file, whose place is this machine's business."""
    page.get_by_role("row", name="token file").evaluate_all("rows => rows.forEach((row) => row.remove())")


PREPARED: dict[str, Callable[[Page], None]] = {
    "spectrum": pick_cell,
    "reasoning": lambda page: page.get_by_test_id("player").evaluate("each => each.scrollIntoView()"),
    "account": leave_out_path,
}


class Camera:
    """Takes a page in every look."""

    def __init__(self, browser: Browser, platform: Platform, only: list[str]) -> None:
        self.platform, self.only, self.taken = platform, only, 0
        self.windows = {look: self._window(browser, *LOOKS[look]) for look in LOOKS}
        self.strangers = {look: self._window(browser, *LOOKS[look]) for look in LOOKS}
        for page in self.windows.values():
            page.goto(platform.answer("POST", "/login-codes")["url"])

    def _window(self, browser: Browser, scheme: Any, size: ViewportSize) -> Page:
        return browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce").new_page()

    def take(self, name: str, path: str) -> None:
        if self.only and name not in self.only:
            return
        for look, page in (self.strangers if name == "login" else self.windows).items():
            page.goto(f"{self.platform.url}{path}")
            page.wait_for_timeout(1200)  # live pages keep a stream open, so the network is never idle
            page.wait_for_function(SETTLED)
            if name in PREPARED:
                PREPARED[name](page)
            if name == "signed-out":
                page.context.clear_cookies()
                page.get_by_test_id("signed-out").wait_for()
            page.wait_for_timeout(400)
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            few = picture.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
            few.save(IMAGES / f"{name}-{look}.png", optimize=True)
            self.taken += 1
            print(f"screenshots: {name}-{look}.png", flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--home", type=Path)
    arguments.add_argument("--only", nargs="*", default=[], help="names of the pictures to take again")
    options = arguments.parse_args()
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="laser-") as folder:
        home = options.home or Path(folder) / "home"
        platform = start_platform(home)
        try:
            if options.home is None:
                train_demo(home, platform)
            with chromium() as browser:
                camera = Camera(browser, platform, options.only)
                for name, path in pages(platform).items():
                    camera.take(name, path)
                if not options.only or "pool" in options.only:
                    with busy(platform):
                        camera.take("pool", "/workers")
                camera.take("login", "/")
                camera.take("signed-out", "/")  # ends the sessions
        finally:
            stop_platform(platform)
    print(f"screenshots: {camera.taken} pictures in {IMAGES}")


if __name__ == "__main__":
    main()
