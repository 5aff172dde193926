"""How near the gradient that a store gives is to another's: cosine and relative error over all weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from laser_core.distributed import summed
from laser_core.model import TRM
from laser_core.stores import ActivationStore


def gradient_fidelity(
    model: TRM, loss: Callable[[], Tensor], store: ActivationStore, exact: ActivationStore
) -> tuple[float, float]:
    """Cosine and relative error (L2) of the gradient of ``loss()`` with ``store`` against that with ``exact``.

    ``loss`` builds the loss from the model and must leave no trace of it (as ``supervision_step`` and ``act_loss`` do).
    Call between training steps. Weights, their ``grad``, the stores' states and random generators stay as they are. Where
    both gradients are zero they are equal (1, 0); where one alone is, the cosine is 0.
    """
    ours, true = (_gradient(model, loss, each) for each in (store, exact))
    norms = ours.norm(), true.norm()
    difference = float((ours - true).norm())
    if not norms[0] or not norms[1]:
        return (1.0, 0.0) if not difference else (0.0, difference / float(norms[1]) if norms[1] else float("inf"))
    return float(torch.dot(ours, true) / (norms[0] * norms[1])), difference / float(norms[1])


def _gradient(model: TRM, loss: Callable[[], Tensor], store: ActivationStore) -> Tensor:
    """All weights' gradients in one float64 vector."""
    before = {name: x.clone() if isinstance(x, Tensor) else x for name, x in store.state_dict().items()}
    own, model.store = model.store, store
    weights = list(model.parameters())
    try:
        with torch.random.fork_rng([weights[0].device] if weights[0].is_cuda else []):
            gradients = torch.autograd.grad(loss(), weights, allow_unused=True)
    finally:
        model.store = own
        if before:
            store.load_state_dict(before)
    filled = (torch.zeros_like(w) if g is None else g for w, g in zip(weights, gradients, strict=True))
    return summed(torch.cat([gradient.flatten().double() for gradient in filled]))
