"""What runs can be carried out on here, found without loading torch: GPUs by NVML where its Python binding is there, else by
the driver's files, which don't tell memory; without a GPU the CPU."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from store.devices import Device
from store.settings import Settings

DRIVER = Path("/proc/driver/nvidia/gpus")


def devices(settings: Settings, worker_id: str, driver: Path = DRIVER) -> tuple[Device, ...]:
    """Its GPUs, which other workers here share, with their memory as it is now; without one its CPU slots."""
    with _nvml() as nvml:
        if nvml is not None and (found := tuple(by_nvml(nvml))):
            return found
    if names := gpus(driver=driver):
        model = description(driver).partition(" x ")[2]
        return tuple(Device(f"{socket.gethostname()}/gpu{name}", model, visible=name) for name in names)
    return tuple(Device(f"{worker_id}/cpu{i}", "cpu", size) for i, size in enumerate(settings.cpu_slots))


def by_nvml(nvml: Any, environ: Mapping[str, str] = os.environ) -> Iterator[Device]:
    """GPUs that NVML's binding names, those of CUDA_VISIBLE_DEVICES where it is set."""
    asked = environ.get("CUDA_VISIBLE_DEVICES")
    wanted = None if asked is None else [name.strip() for name in asked.split(",") if name.strip()]
    for index in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        uid, memory = str(nvml.nvmlDeviceGetUUID(handle)), nvml.nvmlDeviceGetMemoryInfo(handle)
        if wanted is None or str(index) in wanted or any(uid.startswith(name) for name in wanted):
            yield Device(uid, str(nvml.nvmlDeviceGetName(handle)), int(memory.total), uid, int(memory.used))


@contextlib.contextmanager
def _nvml() -> Iterator[Any]:
    """The binding of nvidia-ml-py, ready to be asked; None where it, the driver's library or a GPU is missing."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # also NVMLError, which the missing module would have to name
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


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
