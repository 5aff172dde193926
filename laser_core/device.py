"""Which device a run uses, and what it runs with: versions, hardware, settings, code."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

import numpy as np
import torch

from laser_core.config import ConfigError, Device, Problem
from laser_core.distributed import size


def choose_device(wanted: Device) -> torch.device:
    """The device for ``config.device``. Raises ConfigError where ``cuda`` is wanted and no GPU is usable."""
    if wanted == "cuda" and not torch.cuda.is_available():
        reason = "this torch is built without CUDA" if torch.version.cuda is None else "torch finds no usable GPU"
        raise ConfigError(Problem("device", f"cuda was asked for, but {reason}; use cpu or auto"))
    use_gpu = wanted == "cuda" or (wanted == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if use_gpu else "cpu")


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16; CPUs do in any case, some slowly."""
    return device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)


def check_precision(device: torch.device, precision: str, field: str = "training.precision") -> None:
    """Raises ConfigError where ``bfloat16`` is wanted and the GPU has none."""
    if precision == "bfloat16" and not has_bfloat16(device):
        message = f"{torch.cuda.get_device_name(device)} has no bfloat16; leave this at its default"
        raise ConfigError(Problem(field, message))


def device_name(device: torch.device) -> str:
    """What people read, such as ``cpu (2 threads)`` or ``2 × cuda (NVIDIA H100)``."""
    times = f"{size()} × " if size() > 1 else ""
    if device.type == "cuda":
        return f"{times}cuda ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    return f"{times}{device.type} ({threads} thread{'s' if threads > 1 else ''})"


def versions() -> dict[str, str]:
    """Versions that decide a run's numbers."""
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}


def environment(device: torch.device) -> dict[str, str]:
    """What else decides a run's numbers, for people and for comparing: this code by its content, the hardware, the settings
    of torch that choose algorithms. It names no host."""
    known = {
        "code": _code(),
        "platform": platform.platform(),
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "threads": str(torch.get_num_threads()),
        "deterministic algorithms": _switch(torch.are_deterministic_algorithms_enabled()),
        "float32 matmul": torch.get_float32_matmul_precision(),
    }
    if size() > 1:
        known["processes"] = str(size())
    if device.type != "cuda":
        return known
    gpu = torch.cuda.get_device_properties(device)
    return known | {
        "gpu": f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB",
        "cuda": str(torch.version.cuda),
        "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
        "cudnn deterministic": _switch(torch.backends.cudnn.deterministic),
        "cudnn benchmark": _switch(torch.backends.cudnn.benchmark),
        "tf32": _switch(torch.backends.cuda.matmul.allow_tf32),
    }


def _switch(is_on: bool) -> str:
    return "on" if is_on else "off"


def _code() -> str:
    """sha256 of this package's sources: a version number stays when somebody changes a line."""
    root, digest = Path(__file__).parent, hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def processor() -> str:
    """The processor's name, as the system has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
