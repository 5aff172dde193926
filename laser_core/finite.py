"""Notices the first number of a run that isn't finite, without making the host wait for the device at every step."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

HINT = "try a lower learning rate or a longer warm-up"


class FirstBad:
    """Remembers on the device the first loss that wasn't finite, and its step."""

    def __init__(self, device: torch.device) -> None:
        self._found = torch.zeros(2, dtype=torch.float64, device=device)  # step (0 for none yet), loss

    def note(self, step: int, loss: Tensor) -> None:
        """Looks at a step's loss (a scalar, float64); doesn't wait for it."""
        is_first = (self._found[0] == 0) & ~loss.isfinite()
        seen = torch.stack((torch.full_like(loss, step), loss))
        self._found = torch.where(is_first, seen, self._found)

    def check(self) -> None:
        """Raises FloatingPointError naming the first bad step and its loss, if there was one; waits for the device."""
        step, loss = self._found.tolist()
        if step:
            raise FloatingPointError(f"the loss became {loss} at step {step:.0f}; {HINT}")


def checked(name: str, value: float, step: int) -> float:
    """``value``, if it is finite. Raises FloatingPointError otherwise."""
    if not math.isfinite(value):
        raise FloatingPointError(f"the {name} became {value} at step {step}; {HINT}")
    return value


def check_weights(weights: Mapping[str, Tensor], step: int) -> None:
    """Raises FloatingPointError naming the tensors that hold NaN or infinity; waits for the device once."""
    names = [name for name, x in weights.items() if x.is_floating_point()]
    good = torch.stack([weights[name].isfinite().all() for name in names]).tolist()
    bad = [name for name, fine in zip(names, good, strict=True) if not fine]
    if bad:
        shown = ", ".join(bad[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "")
        raise FloatingPointError(f"weights hold NaN or infinity after step {step} ({shown}); {HINT}")
