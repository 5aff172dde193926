"""A run's configuration and curves to an MLflow server, over its REST API
(https://mlflow.org/docs/latest/api_reference/rest-api.html)."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import httpx

from client.curves import Curves
from client.errors import BadInput, Refused
from client.to_tensorboard import clock
from client.transport import Json

METRICS, PARAMETERS = 1000, 100  # MLflow takes so many at once
VALUE_CHARACTERS = 6000
STATUS = {"succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}


class MlflowServer:
    """One MLflow server; user and password may be part of its URL. Raises BadInput where none
    answers, Refused."""

    def __init__(self, url: str, timeout_s: float = 60.0) -> None:
        self.url = str(httpx.URL(url).copy_with(userinfo=b""))
        self._http = httpx.Client(base_url=f"{url.rstrip('/')}/api/2.0/mlflow/", timeout=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def add(self, run: Json, curves: Curves, experiment: str) -> str:
        """Makes an MLflow run of every point, with the configuration as parameters: its id there."""
        at = clock(run)
        made = self._post(
            "runs/create",
            experiment_id=self._experiment(experiment),
            run_name=run["name"],
            start_time=_milliseconds(at(0)),
            tags=[{"key": "laser.run", "value": run["id"]}, {"key": "laser.tags", "value": " ".join(run["tags"])}],
        )
        run_id = str(made["run"]["info"]["run_id"])
        parameters = _flat(run["config"])
        while some := list(itertools.islice(parameters, PARAMETERS)):
            self._post("runs/log-batch", run_id=run_id, params=some)
        points = (
            {"key": key, "value": _number(value), "step": step, "timestamp": _milliseconds(at(step))}
            for key, curve in curves.items()
            for step, value in zip(curve.steps.tolist(), curve.values.tolist(), strict=True)
        )
        while batch := list(itertools.islice(points, METRICS)):
            self._post("runs/log-batch", run_id=run_id, metrics=batch)
        end = _milliseconds(run["finished_at"] or run["updated_at"])
        self._post("runs/update", run_id=run_id, status=STATUS.get(run["state"], "RUNNING"), end_time=end)
        return run_id

    def _experiment(self, name: str) -> str:
        try:
            found = self._ask("GET", "experiments/get-by-name", params={"experiment_name": name})
        except Refused as error:
            if error.status != 404:
                raise
            return str(self._post("experiments/create", name=name)["experiment_id"])
        return str(found["experiment"]["experiment_id"])

    def _post(self, path: str, **body: Any) -> Json:
        return self._ask("POST", path, json=body)

    def _ask(self, method: str, path: str, **options: Any) -> Json:
        try:
            response = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise BadInput(f"{self.url}: no MLflow server answers ({error})") from error
        try:
            answer = response.json()
        except ValueError:
            answer = {"message": f"{self.url} answered {response.status_code}: is it an MLflow server?"}
        if not response.is_success or "error_code" in answer:
            raise Refused(response.status_code, "MLflow refused", str(answer.get("message", answer)))
        return dict(answer)


def _flat(value: Any, name: str = "") -> Iterator[Json]:
    """Parameters such as ``training.steps``."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _flat(below, f"{name}.{key}" if name else key)
    else:
        text = value if isinstance(value, str) else json.dumps(value)
        yield {"key": name, "value": text[:VALUE_CHARACTERS]}


def _number(value: float) -> float | str:
    """JSON has no NaN; MLflow reads these names, as protobuf's JSON has them."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
