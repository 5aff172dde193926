"""What goes over the wire. Times are seconds since 1970 (UTC); the web types and the Python client follow from these.

Where a frozen dataclass of the store says it well (Comparison, Worker, Artifact …), it is the model itself. The body of
``POST /runs`` is no model here either: it is ``laser_core.config.RunConfig`` (see ``api.schema``).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, FailFast, Field, WithJsonSchema, model_validator

from store import notes
from store.artifacts import Artifact
from store.checkouts import Checkout
from store.datasets import Dataset
from store.filters import MAX_LENGTH
from store.ingest import MOST_KEYS
from store.policy import Priority
from store.queue import Standing
from store.states import State
from store.views import NAME_LENGTH, View
from store.workers import Worker

Config = Annotated[dict[str, Any], WithJsonSchema({"allOf": [{"$ref": "#/components/schemas/RunConfig"}]})]
Number = float | None  # JSON has no NaN and no infinity: they arrive as null
Finite = Annotated[float, Field(allow_inf_nan=False)]
Step = Annotated[int, Field(ge=0, le=2**53)]
MOST_POINTS = 100_000  # of one metric in one request
Level = Literal["info", "warning", "error"]
TraceEvent = Literal["init", "update", "grow", "shrink", "reset", "fallback"]


class Model(BaseModel):
    """Read from the store's frozen dataclasses by attribute name."""

    model_config = ConfigDict(from_attributes=True)


class Body(BaseModel):
    """What a client sends: of the types named, and nothing more."""

    model_config = ConfigDict(extra="forbid", strict=True)


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
    kind: Literal["train", "eval", "analysis", "inspect"]
    store_kind: str = Field(description="Activation store of a training run; empty for other kinds.")
    seed: int
    tags: list[str]
    owner: str
    owner_name: str
    priority: Priority
    pool: str = Field(description="The label that its worker must have; empty for any.")
    gpus: int = Field(description="Devices of one worker that it needs, each with a process of its own.")
    time_limit_s: float | None = Field(description="Of being carried out, over all attempts; null for none.")
    memory_asked: int | None = Field(description="Bytes on its device, on each of several, where its owner said.")
    memory: int = Field(description="Bytes reserved at its start: asked for, guessed or grown; 0 for unknown.")
    memory_held: int | None = Field(description="Bytes reserved when it was last carried out.")
    memory_peak: int | None = Field(description="Bytes that it was measured to hold on its device.")
    device: str | None = Field(description="Where it was last carried out; several devices with blanks between.")
    after: list[str] = Field(description="Ids of runs that must have succeeded before it starts.")
    state: State
    reason: str = Field(description="Why the run is in its state; empty where there is nothing to say.")
    epoch: int
    attempt: int = Field(description="How often a worker took it; 1,000 more after a backup was restored meanwhile.")
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
    fields: dict[str, str | float | bool] = Field(default={}, description="What `config` of the list asked for.")


class Origin(Model):
    """Where an imported run comes from."""

    id: str = Field(description="What it was called there.")
    at: float = Field(description="When it came here.")


class Run(RunSummary):
    """A run with its whole configuration."""

    note: str = Field(description="Markdown, as people wrote it.")
    imported_from: Origin | None = Field(description="Null for a run that was made here.")
    checkout: Checkout | None = Field(description="What it was submitted from; null in a browser or outside of git.")
    config: Config
    config_hash: str
    schema_version: int


class RunChange(Body):
    """Tags that are there already, or gone already, change nothing."""

    add_tags: list[str] = Field(default=[], max_length=notes.MOST_TAGS)
    remove_tags: list[str] = Field(default=[], max_length=notes.MOST_TAGS)
    note: str | None = Field(default=None, description="Markdown; null leaves it as it is.")


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


class Environment(Model):
    """What an attempt ran with."""

    epoch: int
    time: float
    device: str
    parameters: int
    versions: dict[str, str]
    environment: dict[str, str] = Field(default={}, description="Code, hardware, threads, determinism; by name.")


class EnvironmentList(Model):
    items: list[Environment]


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


class NewSeries(Body):
    """Points of one metric, steps rising; null stands for NaN."""

    key: Annotated[str, Field(max_length=120, pattern=r"^[\w./:@ -]+$")]
    steps: Annotated[list[Step], FailFast(), Field(min_length=1, max_length=MOST_POINTS)]
    values: Annotated[list[Finite | None], FailFast(), Field(min_length=1, max_length=MOST_POINTS)]

    @model_validator(mode="after")
    def _of_one_length(self) -> Self:
        if len(self.steps) != len(self.values):
            raise ValueError(f"expected as many values as steps, got {len(self.values)} for {len(self.steps)}")
        return self


class NewPoints(Body):
    """What a run measured, from whoever holds it under ``epoch``."""

    epoch: Annotated[int, Field(ge=1, le=2**31)]
    series: Annotated[list[NewSeries], FailFast(), Field(min_length=1, max_length=MOST_KEYS)]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len({series.key for series in self.series}) < len(self.series):
            raise ValueError("expected every key once in series")
        return self


class Added(Model):
    added: int = Field(description="Points that were new; the others were stored already.")


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


class ViewList(Model):
    items: list[View]


class NewView(Body):
    name: str = Field(min_length=1, max_length=NAME_LENGTH)
    filter: str = Field(default="", max_length=MAX_LENGTH)
    sort: str = Field(default="", max_length=140)
    columns: list[Annotated[str, Field(max_length=140)]] = Field(default=[], max_length=40)


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


class WaitingRun(Model):
    """A run that waits. Of somebody else's that the speaker may not see, ``run_id`` and ``name`` are empty."""

    run_id: str
    name: str
    owner: str
    position: int | None = Field(description="From 1; null where no live worker may take it.")
    starts_in_s: float | None = Field(description="A guess; null where how long others take isn't known.")
    reason: str = Field(description="What it waits for.")
    band: Priority
    pool: str
    priority: float = Field(description="fair_share + age: the highest of a band starts first.")
    fair_share: float = Field(description="2^-(U/ΣU / S): 1 for who used nothing of late, less the more was used.")
    age: float = Field(description="The square of how long it has waited, in units of LASER_PRIORITY_AGE_S.")
    waited_s: float
    waits_for: list[str] = Field(description="Ids of runs that must end first; empty for who may not see the run.")


class Queue(Model):
    """What waits, in the order in which it will start, and what everybody has used of the pool."""

    items: list[WaitingRun]
    total: int
    standings: list[Standing]
    slots: int
    busy: int


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
