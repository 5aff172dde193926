"""What the pool's policy does to a lab in a month (pool_month.json), and how runs share a slot's memory (packing.json)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.book.figures import COLOURS, Mark, Panel, figure
from benchmarks.book.page import Section, answer_of, loaded, missing, number, percent, table

CLAIM = (
    "in a simulated month of twelve users, through the real claims, users who always want more get their shares to within "
    "5 %, and no run is overtaken within its band by one submitted more than the age constant later"
)
COMMAND = "python -m benchmarks.pool_month"
WITHIN = 0.05
DAY_S, HOUR_S = 86_400, 3600


PACKING = "Several runs on one slot"
PACKING_CLAIM = (
    "at least four times as many laser-coded runs as uncompressed ones are at work at once on one slot of fixed memory, the "
    "batch is done sooner, and a run that asked for too little is caught, queued again with more, and succeeds"
)
PACKING_COMMAND = "python -m benchmarks.packing"


def sections(folder: Path) -> list[Section]:
    """The month, and the slot."""
    return [_month(folder), _packing(folder)]


def _packing(folder: Path) -> Section:
    name, report = loaded(folder, "packing.json")
    if not report:
        return missing(PACKING, PACKING_CLAIM, PACKING_COMMAND)
    setting, batches, caught = report["setting"], report["batches"], report["understated"]
    met = [
        all(batch["succeeded"] == setting["runs"] for batch in batches),
        report["packed_ratio"] >= 4,
        report["wall_ratio"] < 1,
        report["wall_ratio_to_every_core"] < 1,
        caught["state"] == "succeeded" and caught["attempts"] == 2 and len(caught["caught"]) == 1,
    ]
    rows = [
        (
            batch["store"],
            f"{batch['succeeded']} of {setting['runs']}",
            str(batch["most_at_once"]),
            number(batch["ask_mib"], 1),
            number(batch["peak_mib"], 1),
            number(batch["wall_s"], 0),
        )
        for batch in batches
    ]
    size = "" if setting["slot_mib"] is None else f" of {setting['slot_mib']} MiB"
    body = [
        table(
            ("store", "succeeded", "most at once", "guessed need, MiB", "measured peak, MiB", "seconds for all"), rows
        ),
        f"{number(report['packed_ratio'], 1)} times as many at once (the worker has no more seats), in "
        f"{number(report['wall_ratio'], 2)} of the time of uncompressed runs with a core each, of which one fits and leaves "
        f"other cores idle; with every core for each run these take {number(batches[2]['wall_s'], 0)} s. A run that asked for "
        f"{caught['asked_mib']} MiB ended as {caught['state']} in attempt {caught['attempts']}.",
    ]
    machine = f"{setting['device']}{size}, {setting['cores']} cores, load {setting['load_at_end']}"
    where = f"{machine}; seeds 0 to {setting['runs'] - 1}."
    return Section(PACKING, PACKING_CLAIM, answer_of(met), PACKING_COMMAND, (name,), where, body)


def _month(folder: Path) -> Section:
    name, report = loaded(folder, "pool_month.json")
    if not report:
        return missing("A month of the pool", CLAIM, COMMAND)
    wanted, got = report["heavy_share_wanted"], report["heavy_share_got"]
    points = max(abs(got[user] - wanted[user]) for user in wanted)
    met = [report["worst_share_error"] <= WITHIN, report["most_overtaken_s"] <= report["bound_s"]]
    shares = [(user, percent(wanted[user]), percent(got[user])) for user in wanted]
    waits = [(user, number(wait / HOUR_S, 1)) for user, wait in report["wait_median_s"].items()]
    eta = report["eta"]
    failed = [] if met[0] else [
        f"Shares are off by up to {percent(report['worst_share_error'])} of themselves ({100 * points:.1f} points): who has "
        "more shares waits less, and age favours the others a little."
    ]  # fmt: skip
    overtaken, bound = report["most_overtaken_s"] / DAY_S, report["bound_s"] / DAY_S
    median, most, wait = (eta[key] / 60 for key in ("median_off_s", "p90_off_s", "median_wait_s"))
    body = [
        table(("heavy user", "share", "got, of what the heavy ones got"), shares),
        table(("user", "median wait, hours"), waits),
        f"Most overtaken: {overtaken:.2f} days, of {bound:g} that the policy allows. {eta['guesses']} guesses of when a run "
        f"starts, made when it was submitted, were off by {median:.0f} minutes (median; nine in ten by less than "
        f"{most:.0f}), where the wait was {wait:.0f}: nobody can foresee what others submit later.",
    ]
    setting = f"Simulated clock, {report['slots']} slots, {report['days']} days, {report['runs']} runs; seed {report['seed']}."
    drawn = {"pool-month.svg": figure([_panel(kind, report) for kind in ("heavy", "light", "bursty")], columns=3)}
    return Section("A month of the pool", CLAIM, answer_of(met), COMMAND, (name,), setting, body, failed, drawn)


def _panel(kind: str, report: dict[str, Any]) -> Panel:
    days = {user: hours for user, hours in report["slot_hours_by_day"].items() if user.startswith(kind)}
    marks = [
        Mark([(day + 1.0, value) for day, value in enumerate(hours)], colour, user[-1])
        for colour, (user, hours) in zip(COLOURS, days.items(), strict=False)
    ]
    return Panel(f"{kind} users", "day", "slot-hours", marks)
