"""What an offline run leaves in its directory: its configuration, every event, metrics as a table, the result."""

from __future__ import annotations

import base64
import csv
import json
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from laser_core.events import Event, Metrics, Result, Started, to_json


class Record:
    """Writes events as they come. Nothing is written before Started, so a refused run leaves no directory.

    A resumed run keeps what was recorded up to its checkpoint; what came after is told again.
    """

    def __init__(self, directory: Path, config: dict[str, Any], checkout: dict[str, Any] | None = None) -> None:
        """``checkout`` is what the run comes from, its ``diff`` in base64; a resumed run keeps the first."""
        self.directory, self.config, self.checkout = directory, config, checkout
        self.waiting: list[Event] = []
        self.told: set[tuple[str, str]] = set()  # (step, metric) kept of the checkpoint's own step
        self.events: TextIO | None = None
        self.metrics: TextIO | None = None

    def __enter__(self) -> Record:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in (self.events, self.metrics):
            if file:
                file.close()

    def add(self, event: Event) -> None:
        """Writes one event, and flushes it."""
        if isinstance(event, Started):
            self._open(event.step)
        if self.events is None or self.metrics is None:
            self.waiting.append(event)
            return
        for each in (*self.waiting, event):
            self.events.write(json.dumps(to_json(each)) + "\n")
        self.waiting.clear()
        if isinstance(event, Metrics):
            rows = ((str(event.step), name, value) for name, value in event.values.items())
            csv.writer(self.metrics).writerows(row for row in rows if row[:2] not in self.told)
        if isinstance(event, Result):
            _write_json(self.directory / "result.json", to_json(event))
        self.events.flush()
        self.metrics.flush()

    def _open(self, step: int) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        _write_json(self.directory / "config.json", self.config)
        if self.checkout and not (self.directory / "checkout.json").exists():
            (self.directory / "checkout.diff").write_bytes(base64.b64decode(self.checkout["diff"]))
            _write_json(self.directory / "checkout.json", {k: v for k, v in self.checkout.items() if k != "diff"})
        events, metrics = self.directory / "events.jsonl", self.directory / "metrics.csv"
        kept_events = [line for line in _lines(events) if _is_kept(line, step)]
        rows = [
            row for row in csv.reader(_lines(metrics)) if len(row) == 3 and row[0].isdigit() and int(row[0]) <= step
        ]
        self.told = {(row[0], row[1]) for row in rows if int(row[0]) == step}
        self.events, self.metrics = events.open("w", encoding="utf-8"), metrics.open("w", encoding="utf-8", newline="")
        self.events.writelines(line + "\n" for line in kept_events)
        csv.writer(self.metrics).writerows([("step", "metric", "value"), *rows])


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _is_kept(line: str, step: int) -> bool:
    try:
        event = json.loads(line)
    except json.JSONDecodeError:  # cut off by a kill
        return False
    return bool(event["type"] != "Result" and event.get("step", 0) <= step)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
