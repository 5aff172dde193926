"""Activation stores: what the forward pass keeps for backward, chosen once by ``make_store``."""

from __future__ import annotations

from laser_core.config import (
    AsiStore,
    AutoStore,
    CheckpointStore,
    LaserCodedStore,
    LaserFusedStore,
    LaserStore,
    NoneStore,
    QuantStore,
    RandomStore,
    Store,
)  # fmt: skip
from laser_core.stores.asi import Asi, Random
from laser_core.stores.base import ActivationStore
from laser_core.stores.checkpoint import Checkpoint
from laser_core.stores.fused import Fused
from laser_core.stores.laser import Laser
from laser_core.stores.laser_coded import LaserCoded, VariablyCoded
from laser_core.stores.laser_fused import LaserFused
from laser_core.stores.quant import Quant
from laser_core.tracker import Policy

CODE_BITS = 8  # that a coded coordinate takes at most, on average: where a basis stops to pay


def make_store(config: Store, seed: int = 0) -> ActivationStore:
    """The activation store of a run's configuration; ``seed`` decides what some of them draw. An ``auto`` store is settled
    by a calibration first (``calibrate.choose``)."""
    match config:
        case NoneStore():
            return ActivationStore()
        case CheckpointStore():
            return Checkpoint(config.unit)
        case LaserStore():
            return Laser(_policy(config), config.budget_fraction)
        case LaserFusedStore():
            return _fused(config, LaserFused(_policy(config), config.budget_fraction, config.weight_energy))
        case LaserCodedStore():
            policy, budget = _policy(config, CODE_BITS), config.budget_fraction
            made = LaserCoded if config.codes == "fixed" else VariablyCoded
            return _fused(config, made(policy, budget, config.weight_energy, config.code_loss, config.keep, seed))
        case QuantStore():
            return _fused(config, Quant(config.bits, config.group, seed))
        case AsiStore():
            return Asi(config.rank)
        case RandomStore():
            return Random(config.rank, seed)
        case AutoStore():
            raise ValueError("store: auto is chosen by a calibration, not made")


def _fused(config: LaserFusedStore | LaserCodedStore | QuantStore, store: Fused) -> Fused:
    store.backward_in_bfloat16 = config.backward == "bfloat16"
    store.reuse = getattr(config, "reuse", 0.0)
    return store


def _policy(config: LaserStore | LaserFusedStore | LaserCodedStore, bits: int = 32) -> Policy:
    return Policy(config.energy, config.rank, config.adapt, config.update_every, config.patience, bits)


__all__ = ["ActivationStore", "make_store"]
