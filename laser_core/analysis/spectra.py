"""How many linear directions activations take: exact spectra from second moments, in float64.

Uncentred unless said otherwise, because a basis without an offset is what activation stores pack with.
Shapes: N rows, D width.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from laser_core.tracker import least_rank, spectrum

if TYPE_CHECKING:
    from jaxtyping import Float

LEVELS = (0.9, 0.95, 0.99, 0.999)  # shares of the energy at which ranks are told


@dataclass(frozen=True)
class Moments:
    """What spectra need of N rows; those of several sets of rows add up."""

    gram_DD: Float[Tensor, "D D"]  # XᵀX
    sum_D: Float[Tensor, "D"]
    rows: int

    @classmethod
    def of(cls, x_ND: Tensor) -> Moments:
        wide_ND = x_ND.double()
        return cls(wide_ND.T @ wide_ND, wide_ND.sum(0), len(wide_ND))

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.gram_DD + other.gram_DD, self.sum_D + other.sum_D, self.rows + other.rows)

    @property
    def covariance_DD(self) -> Float[Tensor, "D D"]:
        """Of the rows around their mean, times N."""
        return self.gram_DD - torch.outer(self.sum_D, self.sum_D) / self.rows


def pooled(moments: Iterable[Moments]) -> Moments:
    """The moments of all their rows together."""
    return reduce(add, moments)


def ranks(energies_D: Float[Tensor, "D"]) -> dict[str, int]:
    """The least ranks whose leading directions hold LEVELS of the energy; names such as "0.95"."""
    total = float(energies_D.sum())
    return {str(level): min(least_rank(energies_D, total, level), len(energies_D)) for level in LEVELS}


def participation_ratio(energies_D: Float[Tensor, "D"]) -> float:
    """``(Σλ)² / Σλ²``: how many directions of equal energy would be as spread out; 0 where there is no energy."""
    squares = float(energies_D.square().sum())
    return float(energies_D.sum()) ** 2 / squares if squares else 0.0


def stable_rank(energies_D: Float[Tensor, "D"]) -> float:
    """``‖X‖²_F / ‖X‖²₂``: energy in units of the strongest direction's; 0 where there is none."""
    largest = float(energies_D.max())
    return float(energies_D.sum()) / largest if largest else 0.0


def directions(moments: Moments) -> tuple[Float[Tensor, "D D"], Float[Tensor, "D"]]:
    """Orthonormal directions (columns) and energies, descending; uncentred."""
    return spectrum(moments.gram_DD)


def centred_energies(moments: Moments) -> Float[Tensor, "D"]:
    """Energies around the mean, descending."""
    return spectrum(moments.covariance_DD)[1]
