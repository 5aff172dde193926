"""What the pool's policy does to a lab in a month, from pool_month.json."""

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


def sections(folder: Path) -> list[Section]:
    """The month."""
    name, report = loaded(folder, "pool_month.json")
    if not report:
        return [missing("A month of the pool", CLAIM, COMMAND)]
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
    return [Section("A month of the pool", CLAIM, answer_of(met), COMMAND, (name,), setting, body, failed, drawn)]


def _panel(kind: str, report: dict[str, Any]) -> Panel:
    days = {user: hours for user, hours in report["slot_hours_by_day"].items() if user.startswith(kind)}
    marks = [
        Mark([(day + 1.0, value) for day, value in enumerate(hours)], colour, user[-1])
        for colour, (user, hours) in zip(COLOURS, days.items(), strict=False)
    ]
    return Panel(f"{kind} users", "day", "slot-hours", marks)
