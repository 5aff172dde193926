"""Activation stores: what the forward pass keeps for backward, chosen once by ``make_store``."""

from __future__ import annotations

from laser_core.config import CheckpointStore, LaserFusedStore, LaserStore, NoneStore, Store
from laser_core.stores.base import ActivationStore
from laser_core.stores.checkpoint import Checkpoint
from laser_core.stores.laser import Laser
from laser_core.stores.laser_fused import LaserFused
from laser_core.tracker import Policy


def make_store(config: Store) -> ActivationStore:
    """The activation store of a run's configuration; nothing in it is random."""
    match config:
        case NoneStore():
            return ActivationStore()
        case CheckpointStore():
            return Checkpoint(config.unit)
        case LaserStore():
            return Laser(_policy(config))
        case LaserFusedStore():
            return LaserFused(_policy(config))


def _policy(config: LaserStore | LaserFusedStore) -> Policy:
    return Policy(config.energy, config.rank, config.adapt, config.update_every, config.patience)


__all__ = ["ActivationStore", "make_store"]
