"""How far subspaces turn: principal angles between leading directions, and energy that one basis holds of other activations.

Shapes: D width, K rank, M subspaces.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float


def cosines(a_DK: Float[Tensor, "D K"], b_DK: Float[Tensor, "D K"]) -> Float[Tensor, "K"]:
    """Cosines of the principal angles between the spans of two orthonormal bases, descending."""
    values_K: Tensor = torch.linalg.svdvals(a_DK.double().T @ b_DK.double())
    return values_K.clamp(0, 1)


def overlap(cosines_K: Float[Tensor, "K"]) -> float:
    """Mean squared cosine, 0..1; K/D on average for two random subspaces."""
    return float(cosines_K.square().mean())


def largest_angle(cosines_K: Float[Tensor, "K"]) -> float:
    """In degrees."""
    return math.degrees(math.acos(float(cosines_K.min())))


def held_energy(gram_DD: Float[Tensor, "D D"], basis_DK: Float[Tensor, "D K"]) -> float:
    """Share of the energy of ``XᵀX`` that lies in the basis, 0..1."""
    total = float(gram_DD.trace())
    return float((basis_DK * (gram_DD @ basis_DK)).sum()) / total if total else 1.0


@dataclass(frozen=True)
class Turning:
    """Principal angles between each two of M subspaces of equal rank; matrices are M×M."""

    rank: int
    width: int
    overlap: list[list[float]]
    largest_angle: list[list[float]]  # degrees

    @property
    def chance(self) -> float:
        """Overlap to expect of random subspaces."""
        return self.rank / self.width


def turning(bases: Sequence[Float[Tensor, "D K"]]) -> Turning:
    """Of orthonormal bases of one width and rank."""
    width, rank = bases[0].shape
    overlaps, angles = ([[start] * len(bases) for _ in bases] for start in (1.0, 0.0))
    for (i, a_DK), (j, b_DK) in combinations(enumerate(bases), 2):
        cosines_K = cosines(a_DK, b_DK)
        overlaps[i][j] = overlaps[j][i] = overlap(cosines_K)
        angles[i][j] = angles[j][i] = largest_angle(cosines_K)
    return Turning(rank, width, overlaps, angles)
