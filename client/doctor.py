"""What `laser doctor` finds: this installation here, the platform's own needs by ``python -m store.doctor``."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from client.broker import broker_url, runtime_dir
from client.errors import LaserError
from client.home import DEFAULT_URL, Home
from client.http import Client
from client.ports import holder, is_free

LOCK = Path(__file__).parents[1] / "requirements.lock"
SLOW_S = 120  # a first import of torch on a busy machine
DRIVER = Path("/proc/driver/nvidia/gpus")
ASK_TORCH = """
import json, torch
print(json.dumps([torch.__version__, torch.version.cuda, torch.cuda.device_count()]))
"""

Finding = dict[str, Any]  # name, status (ok, warning, failed), found, advice


def examine(home: Home) -> Iterator[Finding]:
    """Every finding, in the order in which to put things right."""
    yield _python()
    yield _packages()
    yield _torch()
    yield from _platform(home)
    yield from _service(home)


def _finding(name: str, found: str, status: str = "ok", advice: str = "") -> Finding:
    return {"name": name, "status": status, "found": found, "advice": advice}


def _python() -> Finding:
    found = f"{sys.version.split()[0]} in {sys.prefix}"
    wanted = importlib.metadata.metadata("laser-lab")["Requires-Python"]
    if not SpecifierSet(wanted).contains(sys.version.split()[0], prereleases=True):
        return _finding("python", found, "failed", f"{wanted} is needed: make clean, then make PYTHON=/path/to/python")
    return _finding("python", found)


def _packages() -> Finding:
    """Against the lock file of the checkout, else against what the installed package asks for."""
    is_locked = LOCK.exists()
    lines = _locked(LOCK.read_text()) if is_locked else importlib.metadata.requires("laser-lab") or []
    wrong = [problem for line in lines if (problem := _mismatch(Requirement(line)))]
    source = "requirements.lock" if is_locked else "the package's own list"
    if not wrong:
        return _finding("packages", f"{len(lines)} as in {source}")
    more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
    advice = "make install" if is_locked else "pip install --upgrade laser-lab"
    return _finding("packages", f"otherwise than in {source}: {', '.join(wrong[:5])}{more}", "failed", advice)


def _locked(text: str) -> list[str]:
    return [line.rstrip("\\ ") for line in text.splitlines() if line[:1].isalnum()]


def _mismatch(wanted: Requirement) -> str:
    """Empty when it is as wanted, or not wanted here."""
    if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
        return ""
    try:
        found = importlib.metadata.version(wanted.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{wanted.name} is missing"
    return "" if wanted.specifier.contains(found, prereleases=True) else f"{wanted.name} {found}"


def _torch() -> Finding:
    """Asked in a process of its own, as torch takes seconds and memory."""
    gpus = len(list(DRIVER.glob("*"))) if DRIVER.exists() else 0
    asked = subprocess.run([sys.executable, "-c", ASK_TORCH], capture_output=True, text=True, timeout=SLOW_S)
    if asked.returncode:
        last = (asked.stderr.strip().splitlines() or ["no word"])[-1]
        return _finding("torch", last, "warning", "make install; without torch no worker trains on this machine")
    version, cuda, usable = json.loads(asked.stdout)
    (wanted,) = (r for r in map(Requirement, importlib.metadata.requires("laser-lab") or []) if r.name == "torch")
    found = f"{version}, {f'CUDA {cuda}' if cuda else 'for the CPU'}; {gpus} GPUs in this machine, {usable} usable"
    if not wanted.specifier.contains(version):
        return _finding("torch", found, "failed", f"pip install 'torch{wanted.specifier}'")
    if usable < gpus:
        advice = f"the driver is too old for CUDA {cuda}, or CUDA_VISIBLE_DEVICES hides them: see nvidia-smi"
        if not cuda:
            advice = f"pip install 'torch{wanted.specifier}' from PyTorch's CUDA index"
        return _finding("torch", found, "failed", advice)
    return _finding("torch", found)


def _platform(home: Home) -> list[Finding]:
    environment = dict(os.environ)
    if not environment.get("LASER_BROKER_URL") and home.running():
        environment["LASER_BROKER_URL"] = broker_url(runtime_dir(home.path) / "valkey.sock")
    command = [sys.executable, "-m", "store.doctor"]
    asked = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=SLOW_S)
    if asked.returncode:
        return [_finding("store", asked.stderr.strip()[-500:] or "no word", "failed", "make install")]
    return list(json.loads(asked.stdout))


def _service(home: Home) -> Iterator[Finding]:
    with Client(home=home) as client:
        if not client.is_up():
            port = int(os.environ.get("LASER_PORT") or DEFAULT_URL.rpartition(":")[2])
            if os.environ.get("LASER_URL"):
                yield _finding("service", f"{client.url} doesn't answer", "failed", "start it, or set LASER_URL")
            elif not is_free(port):
                found = f"port {port} is taken by {holder(port)}"
                yield _finding("service", found, "failed", f"laser up --port {port + 1}, or stop the other")
            else:
                yield _finding("service", "not running here", "warning", "laser up")
            return
        try:
            me, there = client.get("me"), client.get("version")["version"]
        except LaserError as error:
            yield _finding("service", f"{client.url} answers", "failed", str(error))
            return
    mine = importlib.metadata.version("laser-lab")
    if there != mine:
        yield _finding(
            "service", f"{client.url} is of version {there}, this is {mine}", "failed", "use the same version"
        )
    else:
        yield _finding("service", f"{client.url}, version {there}, as {me['name']} ({me['role']})")
