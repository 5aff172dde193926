"""Tracks the subspace that a site's activations occupy, from one training step to the next (LASER, arXiv 2604.17224).

The mathematics are plain functions (``spectrum``, ``refined``, ``least_rank``, ``drift``); ``SubspaceTracker`` decides when
to use them and what rank follows. The D×D covariance is formed only where an exact spectrum is wanted: at the first step,
at a reset, where a site is kept in full, and where a probe would be wider than half of it. After the first step, updates
look at a sample of the rows. Everything is deterministic.

Shapes: N rows, D width of the site, K rank, M probe directions (K and a few more), S recursion steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from laser_core.distributed import place, size, summed
from laser_core.events import Trace

if TYPE_CHECKING:
    from jaxtyping import Float

Event = Literal["init", "update", "grow", "shrink", "reset", "fallback"]

OVERSAMPLING = 8  # probe directions beyond the rank: they learn the directions that growth will need
MARGIN = 0.2  # share of 1 - ε that a new rank leaves beyond ε,
MOST_MARGIN = 0.8  # and at most, with what the batch after usually takes away
TURNED = 0.02  # share of a given rank's energy that is missing where its subspace has turned away
# An update looks at about so many rows, at half of them at least: more hold the next step no better.
ROWS_PER_DIRECTION, ENOUGH_ROWS = 4, 1024
REST_IN_FULL = 16  # how many times as long as other sites one that is kept in full may go without a look


# --- mathematics -------------------------------------------------------------------------------------------------------


def spectrum(gram: Float[Tensor, "D D"]) -> tuple[Float[Tensor, "D D"], Float[Tensor, "D"]]:
    """Orthonormal directions (columns) of ``XᵀX`` and the energies along them, descending: float64, with the precision of the
    sums they come from."""
    energies, directions = (x.double().flip(-1) for x in torch.linalg.eigh(gram))
    return directions, energies.clamp_min(0)


def refined(
    probe: Float[Tensor, "D M"], sketch: Float[Tensor, "D M"]
) -> tuple[Float[Tensor, "D M"], Float[Tensor, "D"]]:
    """One power iteration: orthonormal directions of ``sketch = XᵀX·probe`` by descending energy, and their energies.

    The energies are those of the Nyström approximation of XᵀX from the sketch: never above the true ones, and close to
    them where the probe held most of the energy. Where it knows fewer directions than it has, random ones without energy
    make up for them. float64.
    """
    probe, sketch = probe.double(), sketch.double()
    small = probe.T @ sketch
    known_M, rotation = torch.linalg.eigh((small + small.T) / 2)
    is_known_M = known_M > 1e-6 * known_M[-1]
    root = sketch @ (rotation[:, is_known_M] * known_M[is_known_M].rsqrt())  # root · rootᵀ is the approximation
    energies, rotation = torch.linalg.eigh(root.T @ root)
    is_sure = energies > 1e-10 * energies[-1:]  # there may be none
    energies, rotation = energies[is_sure], rotation[:, is_sure]
    directions = (root @ (rotation * energies.rsqrt())).flip(-1)
    missing = len(known_M) - len(energies)
    return extended(directions, len(known_M), seed=0), F.pad(energies.flip(-1), (0, missing))


def least_rank(energies: Float[Tensor, "M"], total: float, share: float) -> int:
    """The least rank whose leading energies reach ``share`` of ``total``; M + 1 where all of them don't."""
    reached = energies.cumsum(0) >= share * total
    return int((~reached).sum()) + 1


def drift(before: Float[Tensor, "D K"], after: Float[Tensor, "D J"]) -> float:
    """Sine of the largest principal angle between two subspaces (of the smaller one to the larger)."""
    small, large = sorted((before, after), key=lambda basis: basis.shape[-1])
    outside = small - large @ (large.T @ small)
    return min(1.0, math.sqrt(max(0.0, float(torch.linalg.eigvalsh(outside.T @ outside)[-1]))))


def extended(basis: Float[Tensor, "D J"], columns: int, seed: int) -> Float[Tensor, "D M"]:
    """``basis`` cut, or filled up with random directions orthogonal to it, to ``columns`` columns."""
    missing = columns - basis.shape[-1]
    if missing <= 0:
        return basis[:, :columns]
    generator = torch.Generator().manual_seed(seed)
    random = torch.randn(basis.shape[0], missing, dtype=torch.float64, generator=generator).to(basis.device)
    for _ in range(2):  # once more, because one projection leaves rounding behind
        random = torch.linalg.qr(random - basis @ (basis.T @ random)).Q
    return torch.cat((basis, random), dim=-1)


def _foreseen(energies: Float[Tensor, "M"], held: Float[Tensor, "J"] | None) -> Float[Tensor, "M"]:
    """What directions should hold of the next batch: no less than those in their place held of this one, before they were made
    to fit it. The tail of a batch of few puzzles is its own."""
    if held is None:
        return energies
    before = F.pad(held.sort(descending=True).values, (0, max(0, len(energies) - len(held))))
    return energies.maximum(before[: len(energies)])


# --- policy ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Policy:
    """When a basis is updated and what rank it gets; the fields of ``config.LaserStore``."""

    energy: float = 0.95
    rank: int = 0
    adapt: bool = True
    update_every: int = 10
    patience: int = 3
    bits: int = 32  # of a stored coordinate, at most: with few, even a basis as wide as the site pays


class SubspaceTracker:
    """The basis of one site. ``basis`` (D, K) is what activations are packed with, or None to keep them in full.

    ``begin_step``; then, if ``observing``, ``observe`` every activation of the forward pass; then ``end_step``, which
    alone changes the basis.
    """

    def __init__(self, site: str, width: int, policy: Policy) -> None:
        self.site, self.width, self.policy = site, width, policy
        self.rank = width
        self.energy = policy.energy
        self.basis: Tensor | None = None
        # Of the energy, along the basis's directions, descending: what they should hold of the next batch,
        self.shares = torch.zeros(0, dtype=torch.float64)
        self._own = torch.zeros(0, dtype=torch.float64)  # what they, and those beyond the rank, hold of this batch,
        self.fit = 0.0  # and those of the basis together
        self.updates = 0
        self.rows = 0  # of this step,
        self._rows_before = 0  # and, of all processes, of the last that was observed
        self._misses = 0  # one after the other, since the last reset,
        self._streak = 0  # and before: resets that don't help end no streak
        self._fall = 0.0  # share of energy that a basis holds less of the next batch than of its own; a running mean
        self._interval, self._next_step = 1, 0
        self._probe: Tensor | None = None
        self._collects: Literal["nothing", "gram", "sketch"] = "nothing"
        self.known: tuple[Tensor, Tensor] | None = (
            None  # of this step's update: directions (D, M), shares (M,) of energy
        )
        self._is_in_full = False  # whether activations are kept as they are, exactly
        self._collected = torch.zeros(())
        self._held: list[Tensor] = []  # energy along each direction of the probe (M,), at each recursion step,
        self._totals: list[Tensor] = []  # and of all there is, ()

    @property
    def observing(self) -> bool:
        """Whether this step's activations are wanted."""
        return self._collects != "nothing"

    def is_due(self, step: int) -> bool:
        """Whether training step ``step`` should update the basis."""
        return step >= self._next_step

    def begin_step(self, step: int, due: bool = False) -> None:
        """Training step ``step``, counted from 1, begins; ``due`` updates the basis in any case."""
        self.rows = 0
        self.known = None
        self._collects = "nothing"
        if not (due or self.is_due(step)):
            return
        if self.updates == 0 or self._is_lost:
            self._collects = "gram"
        elif self._probe is not None:  # a wide one costs more than the whole
            self._collects = "gram" if 2 * self._probe.shape[-1] > self.width else "sketch"

    @property
    def _is_lost(self) -> bool:
        """Whether the next update finds the rank anew, unless the basis holds that batch after all."""
        may_return = self.policy.adapt and self.policy.energy < 1
        return self._misses >= self.policy.patience or (self.basis is None and may_return)

    def observe(self, x_ND: Tensor) -> None:
        """Adds the activations of one recursion step to what this step's update will be made from."""
        if not self.rows:
            self._held, self._totals = [], []
            columns = self.width if self._probe is None or self._collects == "gram" else self._probe.shape[-1]
            self._collected = torch.zeros(self.width, columns, device=x_ND.device)
        self.rows += len(x_ND)
        x_ND = self._sample(x_ND.detach(), self._collected.shape[1]).float().contiguous()
        self._totals.append(x_ND.square().sum())
        coordinates_NM = x_ND
        if self._probe is not None:
            coordinates_NM = x_ND @ self._probe
            self._held.append(coordinates_NM.square().sum(0))
        self._collected.addmm_(x_ND.T, x_ND if self._collects == "gram" else coordinates_NM)

    def _sample(self, x_ND: Tensor, directions: int) -> Tensor:
        """Every ``stride``-th row of the whole batch, from another first row at each recursion step and update. The stride
        shares no divisor with the number of rows, so that updates meet every position of a puzzle."""
        wanted = self._rows_before // max(ENOUGH_ROWS, ROWS_PER_DIRECTION * directions)
        near = (*range(wanted, 2 * wanted), *range(wanted - 1, 1, -1))
        stride = next((some for some in near if some > 1 and math.gcd(some, len(x_ND) * size()) == 1), 1)
        first = self.updates + len(self._totals) - place() * len(x_ND)
        return x_ND if stride == 1 else x_ND[first % stride :: stride]

    def end_step(self, step: int) -> Trace | None:
        """Updates the basis from what was observed; the trace of it, or None where nothing was."""
        collected, self._collects = self._collects, "nothing"
        if collected == "nothing" or not self.rows:
            return None
        self._collected = summed(self._collected)  # of the whole batch, so that all processes derive the same basis
        totals_S, before = summed(torch.stack(self._totals).double()), self.basis
        total = float(totals_S.sum())
        held_M, fidelities, fidelity = None, (), 1.0
        if self._held:
            held_SM = summed(torch.stack(self._held).double())
            held_M, of_basis_S = held_SM.sum(0), held_SM[:, : self.rank].sum(1)
            fidelities = tuple((of_basis_S / totals_S).nan_to_num(1.0).clamp_max(1.0).tolist())
            fidelity = float(of_basis_S.sum()) / total if total else 1.0
        if collected == "gram":
            directions, energies = spectrum(self._collected)
        else:
            assert self._probe is not None
            directions, energies = refined(self._probe, self._collected)
        event = self._choose(energies, total, fidelity, held_M)
        self._rows_before = self.rows * size()
        self._own = energies / (total or 1.0)
        self.known = directions, _foreseen(energies, held_M) / (total or 1.0)
        self._adopt(*self.known)
        self._schedule(step)
        self._collected = torch.zeros(())
        moved = drift(before, self.basis) if before is not None and self.basis is not None else 0.0
        self.updates += 1
        return Trace(
            step, self.site, self.updates - 1, event, self.rank, self.width, min(1.0, fidelity), moved,
            self.saved_bytes(self.rows), self.energies, fidelities,
        )  # fmt: skip

    def saved_bytes(self, rows: int, itemsize: int = 4) -> int:
        """Bytes held for so many rows of this site, its basis included."""
        if self.basis is None:
            return rows * self.width * itemsize
        return (rows + self.width) * self.rank * itemsize

    # --- choosing the interval and the rank

    def _schedule(self, step: int) -> None:
        """The next update: soon after a miss, then after intervals that double while fidelity holds.

        Early in training subspaces turn within a few steps (fidelity .3 after ten); later they hardly move.
        """
        longest = self.policy.update_every
        if self.basis is None:
            self._interval = min(max(longest, 2 * self._interval), REST_IN_FULL * longest)
        elif self.policy.adapt:
            self._interval = 1 if self._misses else min(2 * self._interval, longest)
        else:
            self._interval = longest
        self._next_step = step + self._interval

    def _choose(self, energies: Tensor, total: float, fidelity: float, held: Tensor | None) -> Event:
        """``held`` is what the directions before this update hold of its batch, which they haven't met: so they tell what rank
        the next batch will need, where the energies of the new ones tell of their own."""
        if self.basis is not None:
            fall = max(0.0, self.fit - fidelity)
            self._fall = (self._fall + min(1 - self.energy, fall)) / 2  # cut, so that one jump doesn't decide
        streak, self._streak = self._streak, self._streak + 1 if fidelity < self.energy else 0
        grown = self.rank + 2 ** min(max(0, streak - 1), 16)  # twice as far with every miss after the second
        follows = self.basis is not None and fidelity >= self.energy  # again, if it was lost
        if self.updates == 0 or (self._is_lost and not follows):
            return self._choose_anew(energies, total, grown if streak > self.policy.patience else 1)
        if not self.policy.adapt:
            return "update"
        assert held is not None
        needed = least_rank(held, total, self.energy + MARGIN * (1 - self.energy))
        if self._streak:
            self._misses += 1
            enough = max(needed, self.rank + 1) if needed <= len(held) else self.width
            self.rank = min(enough, max(grown, self._roomy_rank(energies, total)), len(energies))
            return "fallback" if self._beyond_break_even() else "grow"
        self._misses = 0
        if needed <= self.rank - max(1, self.rank // 8):
            self.rank = needed
            return "shrink"
        return "update"

    def _choose_anew(self, energies: Tensor, total: float, least: int) -> Event:
        """A rank of at least ``least``, where an earlier reset did not help: then batches differ, the subspace doesn't turn."""
        first, was_full = self.updates == 0, self.basis is None
        self._misses = 0
        if self.policy.energy >= 1 and not (first and self.policy.rank):
            self.rank = self.width
        elif first:
            self.rank = min(self.policy.rank or max(1, least_rank(energies, total, self.energy)), self.width)
        else:
            self.rank = min(max(least, self._roomy_rank(energies, total)), self.width)
        if self._beyond_break_even():
            return "fallback"
        if first:
            return "init"
        return "shrink" if was_full else "reset"

    def _roomy_rank(self, energies: Tensor, total: float) -> int:
        """The least rank that should hold ε of the next batch too, of which a basis holds less than of its own."""
        may_lose = 1 - self.energy
        margin = min(MOST_MARGIN, MARGIN + self._fall / max(may_lose, 1e-12))
        return max(1, min(least_rank(energies, total, self.energy + margin * may_lose), self.width))

    def _beyond_break_even(self) -> bool:
        """Where codes and basis take no less than the activations themselves, these are kept, exactly."""
        coded = self.rank * (self.rows * self.policy.bits / 32 + self.width)
        self._is_in_full = self.policy.energy >= 1 or coded >= self.width * self.rows
        if self._is_in_full:
            self.rank, self._misses = self.width, 0
        return self._is_in_full

    def _adopt(self, directions: Tensor, shares: Tensor) -> None:
        """Takes the leading ``rank`` directions for the basis; a few more are probed, for growth."""
        self.shares, self.fit = shares[: self.rank].clone(), float(self._own[: self.rank].sum())
        if self._is_in_full:
            self.basis = self._probe = None
            return
        columns = min(self.width, self.rank + OVERSAMPLING)
        self._point(extended(directions, columns, seed=self.updates).float())

    def _point(self, probe: Tensor) -> None:
        # In one fixed layout, so that a resumed run's products have the same bits; the basis in memory of its own, so that
        # what is saved for backward doesn't hold the whole probe.
        self._probe = probe.contiguous()
        self.basis = self._probe[:, : self.rank].clone(memory_format=torch.contiguous_format)

    @property
    def energies(self) -> tuple[float, ...]:
        """Shares of the energy of this step's update along the basis's directions, descending."""
        return tuple(self._own[: self.rank].tolist())

    @property
    def known_shares(self) -> list[float]:
        """As ``shares``, of all directions known from this step's update."""
        return [] if self.known is None else self.known[1].tolist()

    def set_rank(self, rank: int) -> None:
        """After this step's update: another rank, of the directions ``known``. From now on only a subspace that turns away
        from these counts as a miss."""
        assert self.known is not None
        self.rank = rank
        self._beyond_break_even()
        self._adopt(*self.known)
        self.energy = (1 - TURNED) * self.fit

    # --- resuming

    def state_dict(self) -> dict[str, Any]:
        """Tensors and JSON values; call between training steps."""
        state: dict[str, Any] = {"width": self.width, "rank": self.rank, "updates": self.updates}
        state |= {"energy": self.energy, "misses": self._misses, "streak": self._streak}
        state |= {"fall": self._fall, "fit": self.fit, "rows": self._rows_before}
        state |= {"interval": self._interval, "next_step": self._next_step}
        return state if self._probe is None else state | {"probe": self._probe, "shares": self.shares}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up where ``state_dict`` left off, to the bit."""
        self.width, self.rank, self.updates = state["width"], state["rank"], state["updates"]
        self.energy, self._misses = state["energy"], state["misses"]
        # Older checkpoints lack these.
        self._streak, self._fall, self._rows_before = (state.get(name, 0) for name in ("streak", "fall", "rows"))
        self.fit = state.get("fit", float(sum(state.get("shares", ()))))
        self._interval, self._next_step = state["interval"], state["next_step"]
        self.basis = self._probe = None
        self._is_in_full = "probe" not in state
        if not self._is_in_full:
            self._point(state["probe"])
            self.shares = state["shares"]
