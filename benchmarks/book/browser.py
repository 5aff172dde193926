"""How soon Chromium shows what was asked for (browser.json), and whether a tab grows (live.json)."""

from __future__ import annotations

from pathlib import Path

from benchmarks.book.page import Section, answer_of, loaded, missing, number, percent, table

TITLE = "In the browser"
CLAIM = (
    "with 100,000 runs and a curve of a million points Chromium shows the list within 1.5 s and a run within 2 s, sorts, "
    "filters and zooms within 300 ms"
)
COMMAND = "python -m benchmarks.browser"
BOUNDS_MS = {"first paint of the run list": 1500.0, "first paint of a run": 2000.0}
INTERACTION_MS = 300.0

LIVE = "A tab left open"
GROWTH, NODES, SHOWN = 0.1, 0.01, 90  # the last: percent of the hour, by the tab itself
LIVE_CLAIM = (
    f"an hour of twenty live runs leaves a tab as large: it holds less than {percent(GROWTH)} more, and no more nodes"
)
LIVE_COMMAND = "python -m benchmarks.live"


def sections(folder: Path) -> list[Section]:
    """Times, and growth."""
    return [_times(folder), _growth(folder)]


def _times(folder: Path) -> Section:
    name, report = loaded(folder, "browser.json")
    if not report:
        return missing(TITLE, CLAIM, COMMAND)
    medians = report["median_ms"]
    bounds = {what: BOUNDS_MS.get(what, INTERACTION_MS) for what in medians}
    rows = [
        (
            what,
            number(took, 0),
            f"{number(min(report['ms'][what]), 0)} to {number(max(report['ms'][what]), 0)}",
            number(bounds[what], 0),
        )
        for what, took in medians.items()
    ]
    hardware = report["hardware"]
    where = (
        f"{report['runs']:,} runs, {report['points']:,} points; SQLite; {hardware['cores']} cores for the browser and the "
        f"platform, load {hardware['load_before']} before."
    )
    answer = answer_of([took <= bounds[what] for what, took in medians.items()])
    return Section(
        TITLE, CLAIM, answer, COMMAND, (name,), where, [table(("", "median, ms", "from, to", "bound"), rows)]
    )


def _growth(folder: Path) -> Section:
    name, report = loaded(folder, "live.json")
    if not report:
        return missing(LIVE, LIVE_CLAIM, LIVE_COMMAND)
    growth, samples = report["growth"], report["samples"]
    met = [of["Data"] < GROWTH and of["Nodes"] < NODES for of in growth.values()]
    met += [samples[tab][-1]["percent_shown"] >= SHOWN for tab in growth]
    rows = [
        (
            tab,
            f"{percent(samples[tab][0]['percent_shown'] / 100)} to {percent(samples[tab][-1]['percent_shown'] / 100)}",
            *(number(samples[tab][at]["Data"] / 2**20, 2) for at in (0, -1)),
            percent(of["Data"]),
            *(number(samples[tab][at]["Code"] / 2**20, 2) for at in (0, -1)),
            percent(of["JSHeapUsedSize"]),
            percent(of["Nodes"]),
        )
        for tab, of in growth.items()
    ]
    head = (
        "tab", "progress that it showed", "held at first, MiB", "at last", "grew by", "code at first, MiB", "at last",
        "heap grew by", "nodes grew by",
    )  # fmt: skip
    where = (
        f"{report['runs']} runs that say {report['says_of_each']} times five things each within {report['minutes']:g} minutes, "
        f"{report['runs_in_the_database']:,} runs in the database, load {report['hardware']['load_at_end']} at the end. "
        "Growth is that of the line through all samples after the first fifth, over the whole time. Code is what V8 makes of "
        "functions that run often; it ends with the program, so what a tab holds is counted without it. The claim was about "
        "the whole heap at first, and a run's page broke it (24%, 2026-11-27): most of that was code "
        "([experiments](../experiments.md))."
    )
    return Section(LIVE, LIVE_CLAIM, answer_of(met), LIVE_COMMAND, (name,), where, [table(head, rows)])
