"""Experiments of the Python client: ``Client().experiments``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from client.checkout import with_checkout
from client.errors import BadInput, Refused
from client.submission import read_config

Json = dict[str, Any]


class Experiments:
    """Groups of runs, made from one configuration and judged by pairs of equal seed (docs/statistics.md)."""

    def __init__(self, request: Callable[..., httpx.Response]) -> None:
        self._request = request

    def submit(
        self,
        config: Mapping[str, Any] | Path,
        idempotency_key: str | None = None,
        priority: str = "",
        pool: str = "",
        *,
        checkout: bool = True,
    ) -> Json:
        """Queues every run of a configuration or of the YAML or JSON file that holds it, or none; the same
        ``idempotency_key`` again gives the same experiment. In a git checkout its commit and changes go with every run,
        unless ``checkout`` is False."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        params = {name: value for name, value in (("priority", priority), ("pool", pool)) if value}
        body = with_checkout(_read(config), checkout)
        return self._json("POST", "experiments", json=body, headers=headers, params=params)

    def estimate(self, config: Mapping[str, Any] | Path) -> Json:
        """Runs, activation bytes and time that it would take, {runs, groups, slots, duration_s, …}; queues nothing."""
        return self._json("POST", "experiments/estimate", json=_read(config))

    def list(self, limit: int = 50, before: int | None = None) -> Json:
        """{items, next_before}, newest first."""
        params = {"limit": limit} | ({} if before is None else {"before": before})
        return self._json("GET", "experiments", params=params)

    def report(self, experiment_id: str) -> Json:
        """What it shows so far: {experiment, is_over, sentence, groups, verdicts, left_out}."""
        return self._json("GET", f"experiments/{experiment_id}")

    def markdown(self, experiment_id: str) -> str:
        """The same as a page of Markdown."""
        return self._request("GET", f"experiments/{experiment_id}/report.md").text

    def find(self, reference: str) -> Json:
        """The report of the experiment that an id, its unique beginning, or its number names. Raises BadInput."""
        reference = reference.removeprefix("#")
        try:
            return self.report(reference)
        except Refused as error:
            if error.status not in (404, 422):
                raise
        items = self.list(limit=200)["items"]
        prefix = reference if reference.startswith("x_") else f"x_{reference}"
        found = [each for each in items if str(each["number"]) == reference] or [
            each for each in items if each["id"].startswith(prefix)
        ]
        if len(found) != 1:
            what = (
                f"{reference!r} fits {len(found)} experiments; give more letters"
                if found
                else f"No experiment {reference!r}"
            )
            raise BadInput(f"{what}. `laser experiment list` names them.")
        return self.report(found[0]["id"])

    def wait(self, experiment_id: str, timeout_s: float | None = None, poll_s: float = 1.0) -> Json:
        """The report once every run has ended. Raises TimeoutError after ``timeout_s``."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not (report := self.report(experiment_id))["is_over"]:
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"{experiment_id} has runs that haven't ended after {timeout_s} s")
            time.sleep(poll_s)
        return report

    def cancel(self, experiment_id: str) -> Json:
        """Cancels its runs that haven't ended."""
        return self._json("POST", f"experiments/{experiment_id}/cancel")

    def delete(self, experiment_id: str) -> None:
        """Deletes an ended experiment with its runs and their files."""
        self._request("DELETE", f"experiments/{experiment_id}")

    def _json(self, method: str, path: str, **options: Any) -> Json:
        return dict(self._request(method, path, **options).json())


def _read(config: Mapping[str, Any] | Path) -> Json:
    return read_config(config) if isinstance(config, Path) else dict(config)
