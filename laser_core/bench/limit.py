"""How near the codes come to the rate–distortion bound, and trackers to the exact SVD; what tracking costs."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from laser_core.analysis.tracking import Followed, follow
from laser_core.bench.subject import Subject, Tell, result
from laser_core.bench.timing import Place, now, timed
from laser_core.config import LaserCodedStore, LaserStore, NoneStore
from laser_core.model import TRM
from laser_core.stores import make_store
from laser_core.stores.coding import rate_bound
from laser_core.stores.fused import Part
from laser_core.stores.laser_coded import LaserCoded
from laser_core.stores.tracked import TrackedStore
from laser_core.tracker import SubspaceTracker

# --- codes -------------------------------------------------------------------------------------------------------------


@dataclass
class Seen:
    """Sums over a site's packs: rows, bytes of codes (bases apart), second moments (D, D), energy along each direction of the
    basis (K,), and squared error."""

    rows: int = 0
    code_bytes: int = 0
    gram: Tensor | float = 0.0
    along: Tensor | float = 0.0
    error: float = 0.0

    def add(self, x_BLD: Tensor, parts: list[Part], index: int, basis_DK: Tensor) -> None:
        """One call's activations of the site that its packs have at ``index``."""
        decoded_BLD = torch.zeros_like(x_BLD, dtype=torch.float64)
        for part in parts:
            packed = part.record.opened(part.tensors)[0][index]
            with torch.autocast(x_BLD.device.type, enabled=False):  # its rounding is no loss of the codes
                decoded_BLD[part.puzzles] = packed.read(*packed.tensors).decoded()[part.rows].double()
            if part.record.calls == 1:  # not an earlier call's
                self.code_bytes += sum(x.nbytes for x in packed.tensors if x is not basis_DK)
        x_ND, decoded_ND = x_BLD.detach().flatten(0, 1).double(), decoded_BLD.flatten(0, 1)
        self.rows += len(x_ND)
        self.gram = self.gram + x_ND.T @ x_ND
        self.along = self.along + (x_ND @ basis_DK.double()).square().sum(0)
        self.error += float((x_ND - decoded_ND).square().sum())


def coded_sites(model: TRM, losses: Iterable[Callable[[], Tensor]]) -> dict[str, dict[str, float]]:
    """Of every site that is coded while ``losses`` of several batches are computed: bits per row, the share of energy lost, and
    the bits that no code of independent normal directions can do without at that loss (all batches and recursion steps
    together): with the measured spectrum, and with the energies that the basis's directions have, whatever else is left out.
    What is above the second is the codes' part; what else is above the first the basis's, by its directions and its rank.

    Batches that the bases and plans come from, or spectra of one batch alone, would tell of those rows and not of their source:
    the tail of a batch's spectrum is its own, and codes made for another can't know it.
    """
    store, seen = model.store, dict[str, Seen]()
    assert isinstance(store, LaserCoded)
    hold = store.hold

    def watched(sites: list[str], xs: list[Tensor], inverse_norms: list[Tensor]) -> list[Part]:
        parts = hold(sites, xs, inverse_norms)
        for index, (site, x_BLD) in enumerate(zip(sites, xs, strict=False)):
            basis_DK = store.trackers[site].basis
            if basis_DK is not None:
                seen.setdefault(site, Seen()).add(x_BLD, parts, index, basis_DK)
        return parts

    with patch.object(store, "hold", watched), torch.enable_grad():
        for loss in losses:
            loss()
    return {site: _against_bound(sums) for site, sums in seen.items()}


def _against_bound(seen: Seen) -> dict[str, float]:
    assert isinstance(seen.gram, Tensor)
    assert isinstance(seen.along, Tensor)
    variances_D, variances_K = torch.linalg.eigvalsh(seen.gram / seen.rows).clamp_min(0), seen.along / seen.rows
    bits, error = seen.code_bytes * 8 / seen.rows, seen.error / seen.rows
    left_out = float(variances_D.sum() - variances_K.sum())
    bound, basis_bound = rate_bound(variances_D, error), rate_bound(variances_K, error - left_out)
    return {
        "rows": seen.rows, "width": len(variances_D),
        "bytes_per_row": bits / 8, "bits_per_row": bits, "bound_bits_per_row": bound, "basis_bound_bits_per_row": basis_bound,
        "distortion": error, "lost_share": error / float(variances_D.sum()),
        "ratio": bits / bound, "basis_ratio": bits / basis_bound,
    }  # fmt: skip


def over_bound(sites: dict[str, dict[str, float]], of: str = "bound") -> float | None:
    """Code bytes of all sites over those of the bound, or of the ``basis_bound``."""
    bound = sum(site["rows"] * site[f"{of}_bits_per_row"] for site in sites.values())
    return sum(site["rows"] * site["bits_per_row"] for site in sites.values()) / bound if bound else None


# --- trackers ----------------------------------------------------------------------------------------------------------


def trackers(subject: Subject, steps: int, tell: Tell) -> dict[str, Any]:
    """Energy of tracked bases beside the exact SVD's at equal rank, and the time of tracking, while training goes on from the
    middle: of ``laser`` at energy .95 and of ``laser-coded`` as it comes."""
    measured: dict[str, Any] = {}
    for config in (LaserStore(), LaserCodedStore()):
        tell(f"{subject.config.model.block}: trackers of {config.kind} beside the exact SVD")
        store = make_store(config)
        assert isinstance(store, TrackedStore)
        followed = result(follow(subject.trainer("mid", NoneStore()), steps, store.policy))
        measured[config.kind] = {"sites": {site: _energies(seen) for site, seen in followed.items()}}
        tell(f"{subject.config.model.block}: time of the trackers of {config.kind}")
        measured[config.kind] |= tracking_time(subject, config, steps)
    return measured


def _energies(seen: Followed) -> dict[str, Any]:
    """``tracked``: held by the basis in use over the most that so many directions can hold of the same step;
    ``over_exact_svd``: over what the exact SVD of the step of the last update holds."""
    tracked = [ratio for ratio in seen.tracked if ratio is not None]
    pairs = [(mine, best) for mine, best in zip(seen.tracked, seen.exact, strict=True) if mine is not None and best]
    if not tracked:
        return {"kept_in_full": True, "width": seen.width}
    ratios = [mine / best for mine, best in pairs]
    return {
        "width": seen.width, "ranks": seen.ranks, "resets": seen.resets, "steps": len(tracked),
        "tracked_median": statistics.median(tracked), "tracked_least": min(tracked),
        "over_exact_svd_median": statistics.median(ratios), "over_exact_svd_least": min(ratios),
    }  # fmt: skip


def tracking_time(subject: Subject, config: LaserStore | LaserCodedStore, steps: int) -> dict[str, Any]:
    """Shares of the time of ``steps`` training steps after the first, which makes the bases: all of it that trackers take,
    and that the layout of codes takes."""
    trainer = subject.trainer("mid", config)
    trainer.train_step()
    places: dict[str, list[Place]] = {
        "tracker": [(SubspaceTracker, name) for name in ("begin_step", "observe", "end_step")],
        "layout": [(LaserCoded, "plan")],
    }
    began = now(subject.device)
    with timed(places, subject.device) as seconds:
        for _ in range(steps):
            trainer.train_step()
    total = now(subject.device) - began
    store = trainer.store
    assert isinstance(store, TrackedStore)
    return {
        "steps": steps, "step_time_s": total / steps,
        "tracker_share": seconds["tracker"] / total, "layout_share": seconds["layout"] / total,
        "updates": sum(tracker.updates for tracker in store.trackers.values()) / max(1, len(store.trackers)),
    }  # fmt: skip
