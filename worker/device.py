"""Which GPUs this machine has, found without loading torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

DRIVER = Path("/proc/driver/nvidia/gpus")


def gpus(environ: Mapping[str, str] = os.environ, driver: Path = DRIVER) -> list[str]:
    """Names for CUDA_VISIBLE_DEVICES: those it already has, else one number for each GPU of the driver."""
    if "CUDA_VISIBLE_DEVICES" in environ:
        return [name for name in environ["CUDA_VISIBLE_DEVICES"].split(",") if name.strip()]
    return [str(number) for number, _ in enumerate(driver.glob("*/information"))]


def description(driver: Path = DRIVER) -> str:
    """Such as "2 x NVIDIA H100", or "cpu"."""
    found = gpus(driver=driver)
    if not found:
        return "cpu"
    models = {_model(file) for file in driver.glob("*/information")} or {"GPU"}
    return f"{len(found)} x {', '.join(sorted(models))}"


def threads(slots: int, environ: Mapping[str, str] = os.environ) -> int:
    """Cores for one run's mathematics: what OMP_NUM_THREADS says, else an even share of this machine's."""
    if (asked := environ.get("OMP_NUM_THREADS", "")).isdigit():
        return max(1, int(asked))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // slots)


def _model(file: Path) -> str:
    for line in file.read_text(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "Model":
            return value.strip()
    return "GPU"
