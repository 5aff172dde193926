"""Does a browser's tab grow while runs go on? An hour of 20 runs, replayed in ten minutes, before the list and a run's page.

    .venv/bin/python -m benchmarks.live [--home DIR] [--minutes 10] [--out docs/results/live.json]

``--home`` is a LASER_HOME that benchmarks.seed has filled. The runs are claimed and told of through the store, as workers do;
what they say in an hour comes six times as fast. Each tab's heap is read after its garbage was collected, and what V8 made of
functions that run often (``Code``: bytecode, machine code and their tables, by a heap snapshot) is told from the rest
(``Data``): the former grows for as long as functions become hot, whatever the page holds on to, and ends with the program.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import BrowserContext, CDPSession, Page

from laser_core.config import parse_run
from laser_core.events import Event, Log, Metrics, Progress, Trace
from store import claims, database
from store.ingest import ingest
from store.requests import Request
from store.settings import Settings
from store.submit import create_run
from tests.e2e.browser import chromium
from tests.e2e.platform import Platform, start_platform, stop_platform

RUNS, HOUR_S = 20, 3600
SAY_S, STEPS_A_SAY = 10.0, 10  # of a run's own hour: ten steps of a second between two lines
POOL = "replay"  # no worker's: the runs are ours
LEASE_S = 3600.0
SAMPLE_S = 30.0
WARM = 0.2  # of the time: charts and caches fill
COUNTS = ("JSHeapUsedSize", "Nodes", "JSEventListeners")
GROWING = ("Data", "Code", "Native", *COUNTS)


class Replay:
    """RUNS runs at work, in a thread."""

    def __init__(self, settings: Settings, owner: str, minutes: float) -> None:
        self._engine, self._pace = database.connect(settings.database_url), HOUR_S / 60 / minutes
        self._stopping, self.says, self.late_s = threading.Event(), 0, 0.0
        mine = settings.model_copy(update={"pools": POOL})
        config = {"kind": "train", "training": {"steps": HOUR_S}}
        self.ids = []
        for number in range(RUNS):
            run, _ = create_run(
                self._engine,
                parse_run(config | {"name": f"live {number}", "seed": number}),
                owner,
                request=Request(pool=POOL),
            )
            claim = claims.claim_run(self._engine, f"replay{number}", LEASE_S, settings=mine)
            assert claim is not None
            assert claim.run_id == run.id
            claims.mark_running(self._engine, run.id, claim.epoch)
            self.ids.append(run.id)
        self._thread = threading.Thread(target=self._speak)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._engine.dispose()

    def _speak(self) -> None:
        began = time.monotonic()
        while not self._stopping.is_set():
            self.says += 1
            for run_id in self.ids:
                ingest(self._engine, run_id, 1, self.says - 1, self.says, _said(self.says * STEPS_A_SAY))
            due = began + self.says * SAY_S / self._pace
            self.late_s = max(self.late_s, time.monotonic() - due)
            self._stopping.wait(max(0.0, due - time.monotonic()))


def _said(step: int) -> list[Event]:
    noise = math.sin(step * 12.9898) / 10
    energies = tuple(math.exp(-k / 3 + noise) for k in range(16))
    return [
        Progress(step, HOUR_S, 1.0),
        Metrics(step, {"train.loss": 1 / (1 + step / 300) + noise, "test.exact_accuracy": step / HOUR_S}),
        *(
            Trace(step, site, step // STEPS_A_SAY, "update", 8, 64, 0.98 + noise / 10, 0.1, 4096, energies)
            for site in ("layers.0.qkv", "layers.0.mlp")
        ),
        Log(f"step {step}: all is well"),
    ]


def watched(context: BrowserContext, url: str) -> tuple[Page, CDPSession]:
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("[data-testid=live-dot], [data-testid=run-row]")
    session = context.new_cdp_session(page)
    session.send("Performance.enable")
    return page, session


def percent(page: Page) -> int:
    """How far the first run is, by what the tab shows."""
    return int(page.get_by_label("Progress of live", exact=False).first.get_attribute("aria-valuenow") or 0)


def counts(session: CDPSession) -> dict[str, float]:
    session.send("HeapProfiler.collectGarbage")
    metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    return {**held(session), **{name: metrics[name] for name in COUNTS}}


def held(session: CDPSession) -> dict[str, int]:
    """Bytes in a heap snapshot: code; what is the browser's own, which keeps books on requests while it is watched; all
    else."""
    chunks: list[str] = []

    def listen(said: dict[str, str]) -> None:
        chunks.append(said["chunk"])

    session.on("HeapProfiler.addHeapSnapshotChunk", listen)
    session.send("HeapProfiler.takeHeapSnapshot", {"reportProgress": False})  # answers after the last chunk
    session.remove_listener("HeapProfiler.addHeapSnapshotChunk", listen)
    heap = json.loads("".join(chunks))
    meta = heap["snapshot"]["meta"]
    fields = meta["node_fields"]
    nodes, kinds = np.array(heap["nodes"]).reshape(-1, len(fields)), meta["node_types"][0]
    sizes = np.bincount(nodes[:, fields.index("type")], nodes[:, fields.index("self_size")], len(kinds))
    code, native = int(sizes[kinds.index("code")]), int(sizes[kinds.index("native")])
    return {"Data": int(sizes.sum()) - code - native, "Code": code, "Native": native}


def measure(platform: Platform, settings: Settings, minutes: float) -> dict[str, Any]:
    owner = platform.answer("GET", "/me")["id"]
    samples: dict[str, list[dict[str, float]]] = {"list": [], "run": []}
    with chromium() as browser:
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        context.new_page().goto(platform.answer("POST", "/login-codes")["url"])
        replay = Replay(settings, owner, minutes)
        try:
            tabs = {
                name: watched(context, platform.url + path)
                for name, path in (("list", "/"), ("run", f"/runs/{replay.ids[0]}"))
            }
            began = time.monotonic()
            while (elapsed := time.monotonic() - began) < 60 * minutes:
                for name, (page, session) in tabs.items():
                    samples[name].append({"s": round(elapsed, 1), "percent_shown": percent(page), **counts(session)})
                print(
                    f"live: {elapsed:.0f} s, " + ", ".join(_word(name, of[-1]) for name, of in samples.items()),
                    flush=True,
                )
                tabs["list"][0].wait_for_timeout(1000 * max(0.0, SAMPLE_S - (time.monotonic() - began - elapsed)))
        finally:
            replay.stop()
    growth = {name: growths(of, 60 * minutes) for name, of in samples.items()}
    return {
        "runs": RUNS,
        "says_of_each": replay.says,
        "late_s": round(replay.late_s, 2),
        "growth": growth,
        "samples": samples,
    }


def _word(name: str, sample: dict[str, float]) -> str:
    return f"{name} {sample['Data'] / 2**20:.2f} MiB, {sample['Code'] / 2**20:.2f} of code, {sample['Nodes']:.0f} nodes"


def growths(samples: list[dict[str, float]], seconds: float) -> dict[str, float]:
    """Over the whole time, by the line through all samples once warm, in fractions of where that line begins."""
    warm = [sample for sample in samples if sample["s"] >= WARM * seconds]

    def over(name: str) -> float:
        slope, start = np.polyfit([sample["s"] for sample in warm], [sample[name] for sample in warm], 1)
        return round(float(slope * seconds / (start + slope * WARM * seconds)), 4)

    return {name: over(name) for name in GROWING}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--home", type=Path)
    arguments.add_argument("--minutes", type=float, default=10)
    arguments.add_argument("--out", type=Path, default=Path("docs/results/live.json"))
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="laser-") as folder:
        home = options.home or Path(folder) / "home"
        platform = start_platform(home, lease_s="20", heartbeat_s="5", reconcile_s="2.5")
        try:
            total = platform.answer("GET", "/runs", params={"limit": 1})["total"]
            found = measure(platform, Settings(home=home), options.minutes)
        finally:
            stop_platform(platform)
    report = {
        "command": f"python -m benchmarks.live{' --home DIR' if options.home else ''} --minutes {options.minutes:g}",
        "when": time.strftime("%Y-%m-%d"),
        "hardware": {"cores": os.cpu_count(), "load_at_end": round(os.getloadavg()[1], 1)},
        "minutes": options.minutes,
        "runs_in_the_database": total,
        **found,
    }
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report["growth"], indent=1))


if __name__ == "__main__":
    main()
