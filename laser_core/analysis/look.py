"""One model's spectra, dimensions and angles, from what was observed of it.

Shapes: N rows, D width, K rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from laser_core.analysis.angles import Turning, held_energy, turning
from laser_core.analysis.dimension import gaussian_cloud, two_nn
from laser_core.analysis.recording import Observations, Place
from laser_core.analysis.spectra import (
    Moments,
    centred_energies,
    directions,
    participation_ratio,
    pooled,
    ranks,
    stable_rank,
)
from laser_core.events import Spectrum

if TYPE_CHECKING:
    from jaxtyping import Float

ENERGIES_TOLD = 64
LEVEL = "0.95"  # of the ranks that angles and verdicts speak of
TOGETHER = 0  # the recursion step that stands for all of them


@dataclass(frozen=True)
class SiteAngles:
    """How one site's leading directions turn; ``rank`` is that at LEVEL of all recursion steps at the last supervision
    step."""

    recursion: Turning  # between recursion steps, at the last supervision step
    supervision: Turning  # between the supervision steps that were looked at, recursion steps together
    shared_energy: list[float]  # of each recursion step, in the basis of all together


@dataclass(frozen=True)
class Look:
    """What one model's activations are like."""

    model: str
    spectra: list[Spectrum]
    angles: dict[str, SiteAngles]
    bases: dict[str, Float[Tensor, "D K"]]  # leading directions at the last supervision step, recursion steps together

    def last(self) -> dict[str, Spectrum]:
        """Every site's spectrum of all recursion steps together at the last supervision step, without the two states."""
        last = max(spectrum.supervision_step for spectrum in self.spectra)
        return {
            spectrum.site: spectrum
            for spectrum in self.spectra
            if (spectrum.supervision_step, spectrum.recursion_step) == (last, TOGETHER)
            and spectrum.site not in ("latent", "answer")
        }

    def rank_shares(self) -> dict[str, float]:
        """Every site's rank at LEVEL over its width."""
        return {site: spectrum.ranks[LEVEL] / spectrum.width for site, spectrum in self.last().items()}

    def flatness(self) -> dict[str, float]:
        """Every site's intrinsic dimension over that of the flat cloud, where both were measured."""
        return {
            site: spectrum.intrinsic_dimension / spectrum.gaussian_dimension
            for site, spectrum in self.last().items()
            if spectrum.intrinsic_dimension and spectrum.gaussian_dimension
        }


def look(model: str, step: int, seen: Observations, points: int, seed: int) -> Look:
    """Everything that is told of a model whose weights are of training step ``step``."""
    moments, samples = dict(seen.moments), dict(seen.samples)
    _add_together(moments, samples)
    known = {place: directions(of) for place, of in moments.items()}
    last = max(place.supervision_step for place in moments)
    spectra = []
    for place in sorted(moments):
        energies_D, cloud = known[place][1], None
        if place.supervision_step == last and place in samples:
            cloud = samples[place][:points]
        spectra.append(_spectrum(model, step, place, moments[place], energies_D, cloud, seed))
    rank_of = {s.site: s.ranks[LEVEL] for s in spectra if (s.supervision_step, s.recursion_step) == (last, TOGETHER)}
    bases = {place: known[place][0][:, : rank_of[place.site]] for place in moments}
    sites = sorted({place.site for place in seen.moments})
    angles = {site: _angles(site, moments, bases, last) for site in sites}
    return Look(model, spectra, angles, {site: bases[Place(site, last, TOGETHER)] for site in sites})


def _add_together(moments: dict[Place, Moments], samples: dict[Place, Tensor]) -> None:
    """Adds places for all recursion steps together, and for the two states apart: n outputs are latents, one an answer.

    Of the samples every row is taken at one recursion step alone: else its own next step would be its nearest neighbour,
    and the intrinsic dimension that of a trajectory, 1.
    """
    groups: dict[Place, list[Place]] = {}
    calls = max(place.recursion_step for place in moments)
    for place in sorted(moments):
        names = [place.site]
        if place.site.endswith(".h2"):
            names.append("answer" if place.recursion_step == calls else "latent")
        for name in names:
            groups.setdefault(Place(name, place.supervision_step, TOGETHER), []).append(place)
    for together, parts in groups.items():
        moments[together] = pooled(moments[part] for part in parts)
        if all(part in samples for part in parts):
            apart = [samples[part][index :: len(parts)] for index, part in enumerate(parts)]
            samples[together] = torch.cat(apart)


def _spectrum(
    model: str, step: int, place: Place, moments: Moments, energies_D: Tensor, cloud_ND: Tensor | None, seed: int
) -> Spectrum:
    centred_D = centred_energies(moments)
    dimension = flat = None
    if cloud_ND is not None:
        dimension = two_nn(cloud_ND)
        generator = torch.Generator().manual_seed(seed)
        flat = two_nn(gaussian_cloud(centred_D, len(cloud_ND), generator)) if dimension is not None else None
    total = float(energies_D.sum())
    return Spectrum(
        step, model, place.site, place.supervision_step, place.recursion_step, len(energies_D), moments.rows,
        tuple((energies_D[:ENERGIES_TOLD] / total if total else energies_D[:ENERGIES_TOLD]).tolist()),
        ranks(energies_D), ranks(centred_D), participation_ratio(energies_D), stable_rank(energies_D), dimension, flat,
    )  # fmt: skip


def _angles(site: str, moments: Mapping[Place, Moments], bases: Mapping[Place, Tensor], last: int) -> SiteAngles:
    calls = list(_recursion_steps(site, moments, last))
    supervision = sorted({place.supervision_step for place in moments})
    together = bases[Place(site, last, TOGETHER)]
    return SiteAngles(
        turning([bases[Place(site, last, call)] for call in calls]),
        turning([bases[Place(site, step, TOGETHER)] for step in supervision]),
        [held_energy(moments[Place(site, last, call)].gram_DD, together) for call in calls],
    )


def _recursion_steps(site: str, places: Mapping[Place, Moments], last: int) -> Iterator[int]:
    for place in sorted(places):
        if place.site == site and place.supervision_step == last and place.recursion_step != TOGETHER:
            yield place.recursion_step
