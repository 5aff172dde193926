"""Activation stores: what the forward pass keeps for backward, chosen once by ``make_store``."""

from __future__ import annotations

from laser_core.config import NoneStore, Store
from laser_core.stores.base import ActivationStore


def make_store(config: Store) -> ActivationStore:
    """The activation store of a run's configuration; nothing in it is random."""
    match config:
        case NoneStore():
            return ActivationStore()
    raise NotImplementedError(config.kind)


__all__ = ["ActivationStore", "make_store"]
