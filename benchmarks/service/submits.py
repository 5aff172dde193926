"""Runs submitted as fast as the API takes them, while browsers watch the list live."""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.crowd import smallest_run
from benchmarks.service.servers import Server, our_server
from benchmarks.service.timing import load, median, percentile_ms, rounded, together

VIEWERS = 20
CLIENTS = 8
RUN_EVENT = b"event: run\n"


def measure(rounds: int, submits: int, broker_url: str) -> dict[str, Any]:
    """``submits`` a round by CLIENTS clients, each with a key of its own; every viewer must be told of every run."""
    with tempfile.TemporaryDirectory(prefix="bench-service-") as folder, our_server(Path(folder), broker_url) as server:
        samples = [_round(server, number, submits) for number in range(rounds)]
        total = server.client().json("GET", "/api/v1/runs?limit=1")["total"]
    return {
        "per_s": median(sample["per_s"] for sample in samples),
        "p99_ms": median(sample["p99_ms"] for sample in samples),
        "errors": [error for sample in samples for error in sample["errors"]],
        "accepted": total,
        "sent": rounds * submits,
        "viewers": VIEWERS,
        "samples": samples,
    }


def _round(server: Server, number: int, submits: int) -> dict[str, Any]:
    seconds: list[float] = []
    errors: list[str] = []

    def submit(client_number: int) -> None:
        client = server.client()
        for position in range(client_number, submits, CLIENTS):
            body = json.dumps(smallest_run(number * submits + position)).encode()
            key = {"Idempotency-Key": f"bench-{number}-{position}"}
            start = time.perf_counter()
            try:
                client.ask("POST", "/api/v1/runs", body, key)
            except Exception as error:
                errors.append(repr(error)[:300])
            seconds.append(time.perf_counter() - start)
        client.close()

    with watching(server, VIEWERS) as viewers:
        before, cpu_s = load(), server.cpu_s()
        took = together([lambda client=client: submit(client) for client in range(CLIENTS)])  # type: ignore[misc]
        viewers.wait_for(submits, 30)
        told = list(viewers.told)
        cpu_ms = round(1000 * (server.cpu_s() - cpu_s) / submits, 2)
    sample = {
        "per_s": round(submits / took, 1),
        "p99_ms": percentile_ms(seconds, 99),
        "p50_ms": percentile_ms(seconds, 50),
    }
    print(
        f"submits: {sample['per_s']} a second, p99 {sample['p99_ms']} ms, {cpu_ms} ms of CPU each, {len(errors)} errors",
        flush=True,
    )
    sample["server_cpu_ms_each"] = cpu_ms
    return sample | {
        "load": before,
        "errors": errors,
        "least_told": min(told),
        "most_told": max(told),
        "seconds": rounded(seconds),
    }


class Viewers:
    """Open streams of all runs, read by one thread; ``told`` counts the runs each was told of."""

    def __init__(self, server: Server, count: int) -> None:
        self.told = [0] * count
        self._selector = selectors.DefaultSelector()
        self._ends = threading.Event()
        self._tails = [b""] * count
        lines = [f"GET /api/v1/stream HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"]
        lines += [f"{name}: {value}\r\n" for name, value in server.headers.items()]
        for number in range(count):
            stream = socket.create_connection(("127.0.0.1", server.port))
            stream.sendall(("".join(lines) + "\r\n").encode())
            assert b" 200 " in stream.recv(4096)
            self._selector.register(stream, selectors.EVENT_READ, number)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def wait_for(self, count: int, timeout_s: float) -> None:
        """Until every one was told of ``count`` runs."""
        deadline = time.monotonic() + timeout_s
        while min(self.told) < count and time.monotonic() < deadline:
            time.sleep(0.05)

    def close(self) -> None:
        self._ends.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def _read(self) -> None:
        while not self._ends.is_set():
            for key, _ in self._selector.select(0.1):
                assert isinstance(key.fileobj, socket.socket)
                piece = self._tails[key.data] + key.fileobj.recv(2**20)
                self.told[key.data] += piece.count(RUN_EVENT)
                self._tails[key.data] = piece[-(len(RUN_EVENT) - 1) :]


@contextlib.contextmanager
def watching(server: Server, count: int) -> Iterator[Viewers]:
    viewers = Viewers(server, count)
    try:
        yield viewers
    finally:
        viewers.close()
