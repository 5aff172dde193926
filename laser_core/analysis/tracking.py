"""Training goes on while a tracker follows each site, beside the exact SVD of every step (LASER's second claim).

The tracker is the one of the activation stores, with their usual policy. It sees what a store would see: the last cycle's
activations, one batch per step. Shapes: N rows, D width, K rank.
"""

from __future__ import annotations

import statistics
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from laser_core.analysis.recording import RecordingStore
from laser_core.tracker import Policy, SubspaceTracker, spectrum

if TYPE_CHECKING:
    from laser_core.train import Trainer


@dataclass
class Followed:
    """One site over training steps, the first left out: it makes the basis.

    Ratios are energy held over the most that so many directions can hold; None where the tracker kept the site in full.
    """

    width: int
    ranks: list[int] = field(default_factory=list)
    tracked: list[float | None] = field(default_factory=list)  # by the basis in use, made before the step
    exact: list[float | None] = field(default_factory=list)  # by the exact SVD made at the same updates
    frozen: list[float | None] = field(default_factory=list)  # by as many directions of the first step, a control
    resets: int = 0


class Follower:
    """A site's tracker, and the exact spectrum of every step."""

    def __init__(self, site: str, width: int, policy: Policy) -> None:
        self.seen = Followed(width)
        self._tracker = SubspaceTracker(site, width, policy)
        self._first_DD: Tensor | None = None
        self._exact_DD: Tensor | None = None  # of the step of the last update

    def step(self, step: int, activations: list[Tensor]) -> None:
        """One training step's activations, (N, D) of each recursion step; steps count from 1."""
        tracker = self._tracker
        tracker.begin_step(step)
        gram_DD = torch.stack([(x.double().T @ x.double()) for x in activations]).sum(0)
        directions_DD, energies_D = spectrum(gram_DD)
        if self._first_DD is not None and self._exact_DD is not None:
            in_use = self._first_DD if tracker.basis is None else tracker.basis
            bases = (in_use, self._exact_DD[:, : tracker.rank], self._first_DD[:, : tracker.rank])
            best = float(energies_D[: tracker.rank].sum())
            for ratios, basis_DK in zip((self.seen.tracked, self.seen.exact, self.seen.frozen), bases, strict=True):
                is_packed = tracker.basis is not None
                ratios.append(_held(gram_DD, basis_DK) / best if is_packed else None)
            self.seen.ranks.append(tracker.rank)
        if self._first_DD is None:
            self._first_DD = directions_DD
        if tracker.observing:
            self._exact_DD = directions_DD
            for x_ND in activations:
                tracker.observe(x_ND)
        trace = tracker.end_step(step)
        self.seen.resets += trace is not None and trace.event == "reset"


def _held(gram_DD: Tensor, basis_DK: Tensor) -> float:
    wide_DK = basis_DK.double()
    return float((wide_DK * (gram_DD @ wide_DK)).sum())


@dataclass(frozen=True)
class StepRatios:
    """Medians over sites after one step; None where every site is kept in full."""

    step: int
    tracked: float | None
    frozen: float | None


def follow(trainer: Trainer, steps: int, policy: Policy) -> Generator[StepRatios, None, dict[str, Followed]]:
    """Trains ``steps`` steps on, yielding after each; the generator's value is every site's record."""
    activations: dict[str, list[Tensor]] = {}

    def keep(site: str, recursion_step: int, x: Tensor) -> None:
        activations.setdefault(site, []).append(x.flatten(0, -2))

    config = trainer.config.model
    trainer.store = trainer.model.store = RecordingStore(config.latent_steps, config.cycles, keep)
    followers: dict[str, Follower] = {}
    for step in range(1, steps + 1):
        activations.clear()
        trainer.train_step()
        for site, seen in activations.items():
            follower = followers.setdefault(site, Follower(site, seen[0].shape[-1], policy))
            follower.step(step, seen)
        yield _medians(step, [follower.seen for follower in followers.values()])
    return {site: follower.seen for site, follower in followers.items()}


def _medians(step: int, sites: list[Followed]) -> StepRatios:
    last = [(site.tracked[-1], site.frozen[-1]) for site in sites if site.tracked]
    packed = [(tracked, frozen) for tracked, frozen in last if tracked is not None and frozen is not None]
    if not packed:
        return StepRatios(step, None, None)
    tracked, frozen = (statistics.median(ratios) for ratios in zip(*packed, strict=True))
    return StepRatios(step, tracked, frozen)
