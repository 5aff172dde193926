"""What a run says while it works: a stream of small typed values, from the training loop up to the browser.

Every event but Snapshot goes through JSON unchanged (``to_json``, ``from_json``). This module never loads torch.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Started:
    """A run (or a resumed attempt) begins after ``step`` of ``steps``."""

    step: int
    steps: int
    device: str
    parameters: int
    versions: dict[str, str]
    environment: dict[str, str] = field(default_factory=dict)  # what else decides its numbers: laser_core.device


@dataclass(frozen=True)
class Log:
    """A line for people."""

    message: str
    level: Literal["info", "warning", "error"] = "info"


@dataclass(frozen=True)
class Progress:
    """``step`` of ``steps`` done; ``step_time_s`` is the median of the recent steps."""

    step: int
    steps: int
    step_time_s: float


@dataclass(frozen=True)
class Peak:
    """Most bytes that the run held at once on its device, weights and all, since it got going."""

    step: int
    held_bytes: int


@dataclass(frozen=True)
class Metrics:
    """Values measured at ``step``, by name, such as ``train.loss`` or ``test.exact_accuracy``."""

    step: int
    values: dict[str, float]


@dataclass(frozen=True)
class Trace:
    """One update of one site's basis."""

    step: int
    site: str  # such as "layers.0.qkv"
    update: int  # counts this site's updates from 0
    event: Literal["init", "update", "grow", "shrink", "reset", "fallback"]
    rank: int
    width: int
    fidelity: float  # energy share held by the basis before this update, 0..1
    drift: float  # sine of the largest principal angle to the basis before, 0..1
    saved_bytes: int  # held for this site between forward and backward
    energies: tuple[float, ...] = ()  # energy along each basis direction, descending
    fidelities: tuple[float, ...] = ()  # the fidelity at each recursion step, where it was looked at


@dataclass(frozen=True)
class SiteBytes:
    """Bytes that one site holds between forward and backward; ``kind`` such as "linear", "attention", "norm", "code"."""

    site: str
    kind: str
    saved_bytes: int
    recursion_step: int = -1  # the network call of the last cycle, from 0, that first held them; -1 outside of these


@dataclass(frozen=True)
class Memory:
    """Bytes held between forward and backward (unique storages), beside eager training of the same configuration."""

    step: int
    saved_bytes: int
    eager_bytes: int
    sites: tuple[SiteBytes, ...]


@dataclass(frozen=True)
class Snapshot:
    """Everything a resumed run needs; save it before asking for the next event: the tensors are the live ones."""

    step: int
    model: dict[str, Any]  # tensors by name: weights under ``raw.`` and ``ema.``
    training: dict[str, Any]  # tensors by name: optimiser, carry, bases, random generators
    state: dict[str, Any]  # JSON: configuration, counters, tracker policy, data position


@dataclass(frozen=True)
class CheckpointSaved:
    """A checkpoint is on disk: ``name`` is its folder's, ``files`` its files' sha256 by name."""

    step: int
    name: str
    files: dict[str, str]
    size_bytes: int


@dataclass(frozen=True)
class Spectrum:
    """Activations of one model (``trained``, ``initial``, ``untied`` or ``step-…``) at one site."""

    step: int  # of the checkpoint
    model: str
    site: str
    supervision_step: int  # counted from 1
    recursion_step: int  # a call of the last cycle, counted from 1; 0 for all together
    width: int
    rows: int
    energies: tuple[float, ...]  # the first 64 as shares of all, descending; uncentred
    ranks: dict[str, int]  # at shares of the energy such as "0.95"
    centred_ranks: dict[str, int]  # the same around the mean
    participation_ratio: float
    stable_rank: float
    intrinsic_dimension: float | None = None  # TwoNN; None where not measured or too few different points
    gaussian_dimension: float | None = None  # TwoNN of as many points of a flat cloud of the same covariance


@dataclass(frozen=True)
class FileSaved:
    """A file lies in the run's directory, complete: its name and sha256 (hex)."""

    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Result:
    """The run is complete. ``weights_sha256`` is that of the final ``model.safetensors`` (empty but for training)."""

    values: dict[str, float]
    weights_sha256: str = ""
    notes: dict[str, str] = field(default_factory=dict)


Event = (
    Started
    | Log
    | Progress
    | Peak
    | Metrics
    | Trace
    | Memory
    | Spectrum
    | Snapshot
    | CheckpointSaved
    | FileSaved
    | Result
)

_TYPES = {
    cls.__name__: cls
    for cls in (Started, Log, Progress, Peak, Metrics, Trace, Memory, Spectrum, CheckpointSaved, FileSaved, Result)
}


def to_json(event: Event) -> dict[str, Any]:
    """JSON data of an event; its class name under ``type``. Raises TypeError for a Snapshot, which is saved, not sent."""
    if isinstance(event, Snapshot):
        raise TypeError("a Snapshot is saved to disk (laser_core.checkpoint), not sent")
    return {"type": type(event).__name__, **dataclasses.asdict(event)}


def from_json(data: dict[str, Any]) -> Event:
    """The event of ``to_json``. Raises ValueError for an unknown type or fields that don't fit it."""
    values = dict(data)
    cls = _TYPES.get(values.pop("type", ""))
    if cls is None:
        raise ValueError(f"type: expected one of {', '.join(_TYPES)}, got {data.get('type')!r}")
    if cls is Trace:
        values |= {name: tuple(values.get(name, ())) for name in ("energies", "fidelities")}
    if cls is Spectrum:
        values["energies"] = tuple(values["energies"])
    if cls is Memory:
        values["sites"] = tuple(SiteBytes(**site) for site in values["sites"])
    try:
        event: Event = cls(**values)
    except TypeError as error:
        raise ValueError(f"{cls.__name__}: {error}") from error
    return event
