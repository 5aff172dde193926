"""A run on the terminal: one moving bar where someone watches, a plain line now and then where nobody does."""

from __future__ import annotations

import shutil
import time
from types import TracebackType
from typing import TextIO

from laser_core.events import CheckpointSaved, Event, Log, Metrics, Progress, Started

BAR_WIDTH = 24
PLAIN_EVERY_S = 10.0
_SHOWN = {"train.loss": "loss", "train.exact_accuracy": "exact", "test.exact_accuracy": "test exact"}


class Console:
    """Shows events on ``stream``, with a bar if that is a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.is_terminal = stream, stream.isatty()
        self.values: dict[str, float] = {}
        self.has_bar = False
        self.told, self.told_at = "", 0.0

    def __enter__(self) -> Console:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_bar()

    def show(self, event: Event) -> None:
        """Shows what people want to know of ``event``."""
        match event:
            case Started(step, steps, device, parameters):
                self._line(f"started at {step} of {steps} on {device}; {parameters:,} parameters")
            case Log(message, level):
                self._line(message if level == "info" else f"{level}: {message}")
            case CheckpointSaved(_, name, _, size_bytes):
                if not self.is_terminal:
                    self._line(f"checkpoint {name} ({size_bytes / 2**20:.1f} MiB)")
            case Metrics(_, values):
                self.values |= {_SHOWN[name]: value for name, value in values.items() if name in _SHOWN}
            case Progress(step, steps, step_time_s):
                self._progress(step, steps, step_time_s)

    def _progress(self, step: int, steps: int, step_time_s: float) -> None:
        values = "  ".join(f"{name} {value:.4g}" for name, value in self.values.items())
        left = f"{(steps - step) * step_time_s:.0f} s left" if step_time_s and step < steps else ""
        text = f"{step}/{steps}  {values}  {left}".rstrip()
        if self.is_terminal:
            full = BAR_WIDTH * step // max(steps, 1)
            line = f"[{'#' * full}{'-' * (BAR_WIDTH - full)}] {text}"
            columns = shutil.get_terminal_size().columns
            self.stream.write(f"\r{line[: columns - 1]:<{columns - 1}}")
            self.stream.flush()
            self.has_bar = True
        elif text != self.told and (step == steps or time.monotonic() - self.told_at >= PLAIN_EVERY_S):
            self.told, self.told_at = text, time.monotonic()
            self._line(text)

    def _line(self, text: str) -> None:
        self._end_bar()
        self.stream.write(text + "\n")
        self.stream.flush()

    def _end_bar(self) -> None:
        if self.has_bar:
            self.stream.write("\n")
            self.has_bar = False
