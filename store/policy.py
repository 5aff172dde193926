"""Whose turn it is: fair share by usage that fades, and age. Pure functions; claims.py and queue.py apply them.

A user's usage is counted in slot-seconds that halve in worth every ``half_life_s``. Priority P = F + (wait / A)², where
the fair share F in (0, 1] falls with what its owner has used of late beyond their share, and A is ``age_s``. Since F is at
most 1 and above 0, no run overtakes one of its band that was submitted more than A earlier: w² - (w - d)² ≥ d². The square
keeps short waits from mattering: whoever has fewer shares always waits longer, and plain age would give that back to them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

Priority = Literal["high", "normal", "low"]
BANDS: dict[Priority, int] = {"high": 0, "normal": 1, "low": 2}
NAMES: dict[int, Priority] = {band: name for name, band in BANDS.items()}
FADED_S = 1.0  # usage below this counts as none


@dataclass(frozen=True)
class Policy:
    """Raises ValueError for a time that isn't positive: without it usage never fades, or fades at once."""

    half_life_s: float = 7 * 86_400.0
    age_s: float = 3 * 86_400.0  # waiting for so long weighs as much as the whole fair share
    advance_s: float = 300.0  # what a start costs at once, given back as real use comes up to it
    most_running: int = 0  # runs of one user at a time, where the user has no limit of their own; 0 for any number

    def __post_init__(self) -> None:
        for name in ("half_life_s", "age_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected more than 0 seconds, got {getattr(self, name):g}")

    def faded(self, usage: float, seconds: float) -> float:
        """What ``usage`` is worth ``seconds`` later."""
        return usage * math.pow(2, -seconds / self.half_life_s)

    def accrued(self, start: float, end: float | None, now: float) -> float:
        """Worth, at ``now``, of one slot held from ``start`` to ``end``; None while it is held, then with the advance."""
        until = max(now, start + self.advance_s) if end is None else end
        return self.half_life_s / math.log(2) * (self.faded(1, now - until) - self.faded(1, now - start))

    def fair_share(self, usage: float, all_usage: float, share: float) -> float:
        """F = 2^-(U/ΣU / S), and 1 where nobody used anything."""
        if all_usage < FADED_S or not usage:
            return 1.0
        return math.pow(2, -usage / all_usage / share) if share else 0.0

    def age(self, wait_s: float) -> float:
        """What a wait adds to the fair share."""
        return (wait_s / self.age_s) ** 2

    def priority(self, fair_share: float, wait_s: float) -> float:
        """P."""
        return fair_share + self.age(wait_s)


class Account(NamedTuple):
    """A user at one moment: shares granted, usage as it is worth now, slots in use and the most allowed (0 for any)."""

    shares: float
    usage: float
    running: int
    most_running: int = 0

    @property
    def is_at_limit(self) -> bool:
        """Whether none of their runs may start now."""
        return 0 < self.most_running <= self.running


def fair_shares(
    policy: Policy, accounts: Mapping[str, Account], queued: Iterable[str]
) -> dict[str, tuple[float, float]]:
    """(share S, fair share F) of every user who waits, runs or has used something of late."""
    waiting = set(queued)
    active = {
        user: account
        for user, account in accounts.items()
        if user in waiting or account.running or account.usage >= FADED_S
    }
    granted, used = (sum(getattr(account, name) for account in active.values()) for name in ("shares", "usage"))
    shares = {user: account.shares / granted if granted else 1 / len(active) for user, account in active.items()}
    return {user: (shares[user], policy.fair_share(active[user].usage, used, shares[user])) for user in active}
