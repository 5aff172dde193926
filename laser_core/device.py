"""Which device a run uses, and the versions it runs with."""

from __future__ import annotations

import platform

import numpy as np
import torch

from laser_core.config import ConfigError, Device, Problem
from laser_core.config.training import Precision


def choose_device(wanted: Device) -> torch.device:
    """The device for ``config.device``. Raises ConfigError where ``cuda`` is wanted and no GPU is usable."""
    if wanted == "cuda" and not torch.cuda.is_available():
        reason = "this torch is built without CUDA" if torch.version.cuda is None else "torch finds no usable GPU"
        raise ConfigError(Problem("device", f"cuda was asked for, but {reason}; use cpu or auto"))
    use_gpu = wanted == "cuda" or (wanted == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if use_gpu else "cpu")


def check_precision(device: torch.device, precision: Precision) -> None:
    """Raises ConfigError where ``bfloat16`` is wanted and the GPU has none; CPUs compute it in any case, some slowly."""
    if (
        precision == "bfloat16"
        and device.type == "cuda"
        and not torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        message = f"{torch.cuda.get_device_name(device)} has no bfloat16; use float32"
        raise ConfigError(Problem("training.precision", message))


def device_name(device: torch.device) -> str:
    """What people read, such as ``cpu (2 threads)`` or ``cuda (NVIDIA H100)``."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    return f"{device.type} ({threads} thread{'s' if threads > 1 else ''})"


def versions() -> dict[str, str]:
    """Versions that decide a run's numbers."""
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
