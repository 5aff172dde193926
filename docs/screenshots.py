"""Pictures of every page, taken from a running platform with real runs: `make screenshots`.

    python docs/screenshots.py [--home DIR]

Without ``--home`` a demo is trained in a temporary home first; with it the runs of that LASER_HOME are shown.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.e2e.browser import chromium
from tests.e2e.platform import LASER, Platform, start_platform, stop_platform
from tests.e2e.test_datasets import TRAIN

IMAGES = Path(__file__).parent / "images"
LAPTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


def pages(platform: Platform, dataset: str) -> dict[str, str]:
    """Path of each page by the name of its picture; shows the demo's first LASER run."""
    run, plain = (
        platform.answer("GET", "/runs", params={"tag": "demo", "store": store, "limit": 1})["items"][0]["id"]
        for store in ("laser-fused", "none")
    )
    return {
        "runs": "/",
        "compare": "/compare?tag=demo",
        "experiments": "/experiments",
        "experiment": f"/experiments/{platform.answer('GET', '/experiments')['items'][0]['id']}",
        "sweep": "/sweep",
        "charts": f"/runs/{run}",
        "subspace": f"/runs/{run}?tab=subspace",
        "reasoning": f"/runs/{run}?tab=reasoning&puzzle={inspected(platform, run, plain)}&beside={plain}&at=40",
        "memory": f"/runs/{run}?tab=memory",
        "logs": f"/runs/{run}?tab=logs",
        "new": "/new",
        "datasets": f"/datasets?id={dataset}",
        "workers": "/workers",
    }


def inspected(platform: Platform, run: str, plain: str) -> str:
    """The first test puzzle of ``run``, which both runs have answered then."""
    first = platform.submit({"kind": "inspect", "checkpoint": run})
    platform.finished(first)
    question: str = platform.answer("GET", f"/runs/{first}/inspection")["question"]
    for checkpoint in (run, plain):
        platform.finished(platform.submit({"kind": "inspect", "checkpoint": checkpoint, "puzzle": question}))
    return question


def take(page: Page, platform: Platform, names: dict[str, str], suffix: str) -> None:
    for name, path in names.items():
        page.goto(f"{platform.url}{path}")
        page.wait_for_timeout(2500)  # live pages keep a stream open, so the network is never idle
        page.screenshot(path=IMAGES / f"{name}-{suffix}.png")
        print(f"screenshots: {name}-{suffix}.png", flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--home", type=Path)
    options = arguments.parse_args()
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="laser-") as folder:
        home = options.home or Path(folder) / "home"
        platform = start_platform(home)
        try:
            if options.home is None:
                environment = {**os.environ, "LASER_HOME": str(home)}
                subprocess.run([LASER, "demo", "--report", f"{folder}/report.json"], env=environment, check=True)
            dataset = platform.answer("POST", "/datasets", files={"file": ("made.csv", TRAIN, "text/csv")})
            names = pages(platform, dataset["id"])
            with chromium() as browser:
                for suffix, scheme, size in (
                    ("light", "light", LAPTOP),
                    ("dark", "dark", LAPTOP),
                    ("phone", "light", PHONE),
                ):
                    context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
                    page = context.new_page()
                    page.goto(platform.answer("POST", "/login-codes")["url"])
                    take(page, platform, names, suffix)
        finally:
            stop_platform(platform)
    print(f"screenshots: {3 * len(names)} pictures in {IMAGES}")


if __name__ == "__main__":
    main()
