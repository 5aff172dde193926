"""Controls for the shared, tracked basis of ``laser``: a basis for each call (ASI), and one that never changes (random).

Both keep the inputs of linear layers, as ``laser`` does, at a fixed rank. Shapes: N rows, D width, K rank.
"""

from __future__ import annotations

import hashlib
from collections import Counter

import torch
from torch import Tensor

from laser_core.distributed import summed
from laser_core.events import Trace
from laser_core.stores.base import StateDict, in_float32
from laser_core.stores.laser import LinearInputs
from laser_core.tracker import extended


class Asi(LinearInputs):
    """Store ``asi`` (arXiv 2505.05086): one power iteration per activation, warm-started from the same call of the training
    step before. Every recursion step holds a basis of its own."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self._rank = rank
        self._calls: Counter[str] = Counter()  # of each site, in this forward pass
        self._bases: dict[str, Tensor] = {}  # site and call -> what the next step starts from
        self._step = 0

    def begin_step(self, step: int) -> None:
        self._step = step

    def begin_forward(self) -> None:
        super().begin_forward()
        self._calls.clear()

    def end_step(self) -> list[Trace]:
        self._step = 0
        return super().end_step()

    def basis(self, site: str, x_ND: Tensor) -> Tensor | None:
        self._calls[site] += 1
        name = f"{site}/{self._calls[site]}"
        x_ND = x_ND.detach().float()
        start_DK = self._bases.get(name)
        if start_DK is None:
            start_DK = random_basis(x_ND.shape[-1], self._rank, name).to(x_ND)
        with in_float32(x_ND):
            # In the layout that it has when it comes from a checkpoint.
            basis_DK = torch.linalg.qr(summed(x_ND.T @ (x_ND @ start_DK))).Q.contiguous()
        if self._step:  # looks from outside of training leave no trace
            self._bases[name] = basis_DK
        return self.keep(basis_DK, site, "basis")

    def state_dict(self) -> StateDict:
        return dict(self._bases)

    def load_state_dict(self, state: StateDict) -> None:
        self._bases = dict(state)


class Random(LinearInputs):
    """Store ``random``: an orthonormal basis drawn once, from the seed and the site's name."""

    def __init__(self, rank: int, seed: int) -> None:
        super().__init__()
        self._rank, self._seed = rank, seed
        self._bases: dict[str, Tensor] = {}

    def basis(self, site: str, x_ND: Tensor) -> Tensor | None:
        if site not in self._bases:
            self._bases[site] = random_basis(x_ND.shape[-1], self._rank, f"{self._seed} {site}").to(x_ND.device)
        return self.keep(self._bases[site], site, "basis")


def random_basis(width: int, rank: int, name: str) -> Tensor:
    """An orthonormal (D, K) basis, K at most D, that depends on its arguments alone."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
    return extended(torch.zeros(width, 0, dtype=torch.float64), min(rank, width), seed).float()
