"""What goes over the wire. Times are seconds since 1970 (UTC); the web types and the Python client follow from these.

Where a frozen dataclass of the store says it well (Comparison, Worker, Artifact …), it is the model itself. The body of
``POST /runs`` is no model here either: it is ``laser_core.config.RunConfig`` (see ``api.schema``).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from store.artifacts import Artifact
from store.datasets import Dataset
from store.states import State
from store.workers import Worker

Config = Annotated[dict[str, Any], WithJsonSchema({"allOf": [{"$ref": "#/components/schemas/RunConfig"}]})]
Number = float | None  # JSON has no NaN and no infinity: they arrive as null
Level = Literal["info", "warning", "error"]
TraceEvent = Literal["init", "update", "grow", "shrink", "reset", "fallback"]


class Model(BaseModel):
    """Read from the store's frozen dataclasses by attribute name."""

    model_config = ConfigDict(from_attributes=True)


# --- problems ----------------------------------------------------------------------------------------------------------


class FieldProblem(Model):
    """One thing wrong with a request: ``field`` is a dotted path, a parameter's name, or empty for the whole."""

    field: str
    message: str


class Problem(Model):
    """RFC 9457 problem details."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldProblem]
    request_id: str = Field(description="Finds the request in the server's log.")


# --- runs --------------------------------------------------------------------------------------------------------------


class Result(Model):
    values: dict[str, Number] = Field(description="exact_accuracy, saved_bytes, step_time_s …")
    weights_sha256: str = Field(default="", description="Of the final model.safetensors; empty but for training.")
    notes: dict[str, str] = {}


class RunSummary(Model):
    """A run as lists and streams show it."""

    id: str
    number: int
    name: str
    kind: Literal["train", "eval", "analysis"]
    store_kind: str = Field(description="Activation store of a training run; empty for other kinds.")
    seed: int
    tags: list[str]
    owner: str
    state: State
    reason: str = Field(description="Why the run is in its state; empty where there is nothing to say.")
    epoch: int
    attempt: int = Field(description="How often a worker took it.")
    step: int
    steps: int
    step_time_s: Number
    checkpoint: str | None = Field(description="Folder name of the newest checkpoint.")
    checkpoint_step: int | None
    worker_id: str | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    updated_at: float
    last_seq: int = Field(description="Sequence number of its newest event.")
    result: Result | None = Field(description="Once the run has succeeded.")
    latest: dict[str, Number] = Field(description="Newest value of every metric.")


class Run(RunSummary):
    """A run with its whole configuration."""

    config: Config
    config_hash: str
    schema_version: int


class RunPage(Model):
    items: list[RunSummary]
    next_cursor: str | None = Field(description="Give it back as `cursor` for the next page; null on the last.")
    total: int


class Event(Model):
    """One entry of a run's append-only log; ``seq`` counts from 1 per run. "metrics" and "traces" only say that there are
    new ones, up to ``data.step``."""

    seq: int
    time: float
    kind: Literal["state", "started", "log", "checkpoint", "metrics", "traces", "memory", "file", "result"]
    epoch: int
    data: dict[str, Any]


class EventPage(Model):
    items: list[Event]


class LogLine(Model):
    seq: int
    time: float
    epoch: int
    level: Level
    message: str


class LogPage(Model):
    items: list[LogLine]


# --- measurements ------------------------------------------------------------------------------------------------------


class Series(Model):
    """One metric: ``values[i]`` at ``steps[i]``; ``count`` points are stored, of which these show every extreme."""

    key: str
    steps: list[int]
    values: list[Number]
    count: int


class SeriesList(Model):
    series: list[Series]


class SiteTrace(Model):
    """Every update of one site's basis, as columns of equal length."""

    site: str
    width: int
    steps: list[int]
    ranks: list[int]
    fidelities: list[Number]
    drifts: list[Number]
    saved_bytes: list[int]
    events: list[TraceEvent]


class TraceList(Model):
    sites: list[SiteTrace]


class SiteBytes(Model):
    site: str
    kind: str = Field(description="What is held, such as linear, attention, norm or code.")
    saved_bytes: int
    recursion_step: int = Field(default=-1, description="Network call of the last cycle, from 0; -1 outside of these.")


class Memory(Model):
    """Bytes held between forward and backward, beside eager training of the same configuration."""

    step: int | None = Field(default=None, description="Null until the first measurement.")
    saved_bytes: int = 0
    eager_bytes: int = 0
    sites: list[SiteBytes] = []


# --- lists -------------------------------------------------------------------------------------------------------------


class DatasetList(Model):
    items: list[Dataset]


class DatasetRow(Model):
    """One puzzle; blanks of ``question`` are dots."""

    source: str
    question: str
    answer: str
    rating: Number


class DatasetPreview(Model):
    items: list[DatasetRow]


class ArtifactList(Model):
    items: list[Artifact]


class WorkerList(Model):
    items: list[Worker]


# --- system ------------------------------------------------------------------------------------------------------------


class Preset(Model):
    name: str
    title: str
    description: str
    config: Config


class Me(Model):
    id: str
    name: str
    role: str
    scope: Literal["all", "read"] = Field(description="What the token or session in use may do.")


class LoginCode(Model):
    """Opens a browser session once: visit ``url`` before ``expires_at``."""

    url: str
    code: str
    expires_at: float


class Health(Model):
    status: Literal["ok"] = "ok"


class Ready(Model):
    """``ready`` needs the database only: without a broker, runs still start within the reconciler's interval."""

    ready: bool
    database: str = Field(description="ok, or what is wrong.")
    broker: str = Field(description="ok, not configured, or what is wrong.")


class Version(Model):
    version: str
    api: Literal["v1"] = "v1"
    schema_version: int = Field(description="Of RunConfig.")
    database_schema: str | None
