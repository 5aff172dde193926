"""The model whose recursion cycle is one compiled function (``training.compile``).

What is compiled is a cycle: of the units tried (a block, a call, a cycle) it was the fastest, and the slowest to compile
(benchmarks/training_speed.py). Its numbers agree with the plain model's to rounding, not to the bit.

Shapes: B batch, L positions, D width.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sysconfig
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from laser_core import memory
from laser_core.config import ConfigError, NoneStore, Problem, TrainConfig
from laser_core.events import Memory, SiteBytes
from laser_core.model import TRM


class CompiledTRM(TRM):
    """A TRM that compiles its cycle at the first call, once with gradient and once without."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._compiled = torch.compile(super()._cycle, fullgraph=True, dynamic=False)

    def _cycle(self, *states: Tensor) -> tuple[Tensor, Tensor]:
        with warnings.catch_warnings(action="ignore"):  # the compiler's own, while it traces
            result: tuple[Tensor, Tensor] = self._compiled(*states)
        return result


def wants_compile(config: TrainConfig, device: torch.device) -> bool:
    """Whether this run compiles its model. Raises ConfigError where it must and no compiler is usable."""
    mode = config.training.compile
    if mode == "off" or not isinstance(config.store, NoneStore):
        return False
    lacking = missing_compiler(device)
    if lacking and mode == "on":
        raise ConfigError(Problem("training.compile", f"{lacking}, or choose auto or off"))
    return not lacking


def missing_compiler(device: torch.device) -> str:
    """What stands in the way of torch.compile here and what to install; empty where nothing does."""
    compilers = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++"]
    if not any(shutil.which(name) for name in compilers):
        return (
            f"needs a C++ compiler, but there is no {' or '.join(compilers)}; install g++ (on Debian: apt install g++)"
        )
    if device.type == "cuda":
        has_triton = importlib.util.find_spec("triton") is not None
        return "" if has_triton else "needs triton, which is not installed; pip install triton"
    header = Path(sysconfig.get_path("include"), "Python.h")
    return (
        ""
        if header.exists()
        else f"needs Python's headers, but there is no {header}; on Debian: apt install python3-dev"
    )


def measure(model: TRM, forward: Callable[[], Tensor], step: int) -> Memory:
    """``memory.measure`` of a compiled model, whose modules can't say who saves what: the cycle is one site, ``layers``."""
    with torch.compiler.set_stance("force_eager"):
        eager = memory.eager_account(model, forward)
    held = memory.measure(model, forward, step, eager.total())
    outside = {place: eager[place] for place in _outside(eager)}
    sites = [SiteBytes(site, kind, held_bytes) for (site, kind, _), held_bytes in outside.items()]
    cycle = held.saved_bytes - sum(outside.values())
    return Memory(step, held.saved_bytes, held.eager_bytes, (*sites, SiteBytes("layers", "compiled", cycle)))


def _outside(account: memory.Account) -> list[tuple[str, str, int]]:
    return [place for place in account if place[1] in ("embedding", "head", "loss")]
