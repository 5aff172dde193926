"""How many dimensions activations have when curves are allowed: the TwoNN estimate (Facco et al. 2017, Sci. Rep. 7:12140).

Shapes: N points, D width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float

DISCARDED = 0.1  # of the largest ratios, as in the paper: their tail isn't of the model's form
FEWEST_POINTS = 20
_CHUNK = 1024


def two_nn(x_ND: Float[Tensor, "N D"]) -> float | None:
    """The intrinsic dimension of a cloud of points; None with fewer than 20 different ones.

    With r₁, r₂ the distances to the two nearest neighbours, μ = r₂/r₁ has ``F(μ) = 1 - μ^-d`` where density hardly changes
    within r₂; d is the slope of ``-log(1 - F)`` over ``log μ`` through the origin. It is too low where d is high and
    points are few, so compare it with the estimate of a known cloud of as many points (``gaussian_cloud``).
    """
    points_ND = torch.unique(x_ND.double(), dim=0)
    count = len(points_ND)
    if count < FEWEST_POINTS:
        return None
    first_N, second_N = _nearest(points_ND - points_ND.mean(0))
    x_N = (second_N / first_N).log().sort().values
    y_N = -torch.log1p(-torch.arange(1, count + 1, device=x_N.device).double() / (count + 1))
    kept = int(count * (1 - DISCARDED))
    x_N, y_N = x_N[:kept], y_N[:kept]
    squares = float(x_N.square().sum())
    return float((x_N * y_N).sum()) / squares if squares else None


def _nearest(points_ND: Float[Tensor, "N D"]) -> tuple[Float[Tensor, "N"], Float[Tensor, "N"]]:
    """Distances of every point to its two nearest neighbours; all points are different."""
    firsts, seconds = [], []
    for start in range(0, len(points_ND), _CHUNK):
        chunk_CD = points_ND[start : start + _CHUNK]
        distances_CN = torch.cdist(chunk_CD, points_ND, compute_mode="use_mm_for_euclid_dist")
        distances_CN.diagonal(start).fill_(torch.inf)
        few_C4 = distances_CN.topk(4, largest=False).indices
        # Once more from differences: products of large coordinates leave nothing of small distances.
        exact_C4 = (points_ND[few_C4] - chunk_CD[:, None]).norm(dim=-1).sort(dim=-1).values
        firsts.append(exact_C4[:, 0])
        seconds.append(exact_C4[:, 1])
    return torch.cat(firsts), torch.cat(seconds)


def gaussian_cloud(energies_D: Float[Tensor, "D"], points: int, generator: torch.Generator) -> Float[Tensor, "N D"]:
    """Points of the normal distribution whose covariance has these eigenvalues (up to one factor), in its own axes.

    Distances, and so TwoNN, are those of a flat cloud with the linear ranks of the activations.
    """
    noise_ND = torch.randn(points, len(energies_D), dtype=torch.float64, generator=generator)
    return noise_ND * energies_D.cpu().double().clamp_min(0).sqrt()
