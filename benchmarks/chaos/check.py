"""Every promise, checked from the database and the files that it points at, and from nothing that the platform says."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.chaos.faults import Fault
from benchmarks.chaos.watch import Span, overlap_s
from benchmarks.chaos.work import TIMED, Undisturbed
from store import claims, events, metrics, traces
from store.database import read
from store.errors import Superseded
from store.ingest import ingest, spool_offset
from store.runs import Run, get_run
from store.settings import Settings
from store.states import FINAL, State
from store.tables import attempts, runs


@dataclass
class Findings:
    """What was broken, by promise: a line each. All empty is well."""

    lost: list[str] = field(default_factory=list)
    completed_twice: list[str] = field(default_factory=list)
    points_lost: list[str] = field(default_factory=list)
    points_doubled: list[str] = field(default_factory=list)
    points_differ: list[str] = field(default_factory=list)
    traces_differ: list[str] = field(default_factory=list)
    weights_differ: list[str] = field(default_factory=list)
    log_gaps: list[str] = field(default_factory=list)
    epochs_overlap: list[str] = field(default_factory=list)
    stale_writes_taken: list[str] = field(default_factory=list)
    stale_writes_refused: int = 0

    def counts(self) -> dict[str, int]:
        return {name: value if isinstance(value, int) else len(value) for name, value in vars(self).items()}

    def broken(self) -> dict[str, list[str]]:
        return {name: value for name, value in vars(self).items() if isinstance(value, list) and value}


def check(
    engine: sa.Engine, settings: Settings, submitted: Mapping[str, int], calm: Mapping[int, Undisturbed]
) -> Findings:
    """``submitted``: the variant of every run by its id. The platform must have stopped."""
    found = Findings()
    with read(engine) as connection:
        known = set(connection.execute(sa.select(runs.c.id)).scalars())
    found.lost += [f"{run_id}: no such run" for run_id in submitted.keys() - known]
    found.completed_twice += [f"{run_id}: nobody submitted it" for run_id in known - submitted.keys()]
    for run_id in sorted(known & submitted.keys()):
        run, reference = get_run(engine, run_id), calm[submitted[run_id]]
        if run.state != State.succeeded:
            found.lost.append(f"{run_id}: {run.state}, {run.reason}")
            continue
        _check_log(engine, run, found)
        _check_points(engine, run, reference, found)
        _check_weights(settings, run, reference, found)
        _check_attempts(engine, run, found)
    return found


def _check_log(engine: sa.Engine, run: Run, found: Findings) -> None:
    log = events.after(engine, run.id, limit=10**9)
    if [event.seq for event in log] != list(range(1, run.last_seq + 1)):
        found.log_gaps.append(f"{run.id}: {len(log)} events numbered up to {run.last_seq}")
    endings = [event.data["state"] for event in log if event.kind == "state" and event.data["state"] in FINAL]
    if len(endings) != 1:
        found.completed_twice.append(f"{run.id}: ended {len(endings)} times, {endings}")


def _check_points(engine: sa.Engine, run: Run, calm: Undisturbed, found: Findings) -> None:
    stored = list(metrics.iter_points(engine, run.id))
    times = collections.Counter((key, step) for key, step, _ in stored)
    found.points_doubled += [f"{run.id} {place}: {n} times" for place, n in times.items() if n > 1]
    found.points_lost += [f"{run.id} {place}" for place in calm.points.keys() - times.keys()]
    found.points_differ += [f"{run.id} {place}: nobody else has it" for place in times.keys() - calm.points.keys()]
    for key, step, value in stored:
        wanted = calm.points.get((key, step), value)
        if key not in TIMED and value != wanted and not (value != value and wanted != wanted):  # nan is nan
            found.points_differ.append(f"{run.id} {(key, step)}: {value}, undisturbed {wanted}")
    held = {
        (site.site, update, step, rank)
        for site in traces.read(engine, run.id)
        for update, (step, rank) in enumerate(zip(site.steps, site.ranks, strict=True))
    }
    if held != calm.traces:
        found.traces_differ.append(
            f"{run.id}: {len(calm.traces - held)} lost, {len(held - calm.traces)} nobody else has"
        )


def _check_weights(settings: Settings, run: Run, calm: Undisturbed, found: Findings) -> None:
    told = (run.result or {}).get("weights_sha256")
    file = settings.artifacts_dir / run.id / "checkpoints" / str(run.checkpoint) / "model.safetensors"
    on_disk = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else "no file"
    if not told == on_disk == calm.weights_sha256:
        found.weights_differ.append(f"{run.id}: told {told}, on disk {on_disk}, undisturbed {calm.weights_sha256}")


def _check_attempts(engine: sa.Engine, run: Run, found: Findings) -> None:
    """Epochs one after the other; and none but nobody's may write any more."""
    rows = attempts_of(engine, run.id)
    if [row.epoch for row in rows] != list(range(1, run.epoch + 1)):
        found.epochs_overlap.append(f"{run.id}: epochs {[row.epoch for row in rows]} of {run.epoch}")
    for before, after in itertools.pairwise(rows):
        if before.ended_at is None or before.ended_at > after.started_at:
            found.epochs_overlap.append(f"{run.id}: epoch {before.epoch} was live when {after.epoch} began")
    for row in rows:
        for name, write in _stale_writes(engine, run, row.epoch):
            with contextlib.suppress(Superseded):
                write()
                found.stale_writes_taken.append(f"{run.id} epoch {row.epoch}: {name}")
                continue
            found.stale_writes_refused += 1


def _stale_writes(engine: sa.Engine, run: Run, epoch: int) -> Iterable[tuple[str, Callable[[], Any]]]:
    """Everything that a worker which comes back too late may try. Ending a run as it has ended is allowed: an answer may
    have been lost."""
    place, offset = (engine, run.id, epoch), spool_offset(engine, run.id, epoch)
    yield "beat", lambda: claims.heartbeat(*place, 20)
    yield "mark running", lambda: claims.mark_running(*place)
    yield "events", lambda: ingest(*place, offset, offset + 1, [])
    yield "fail", lambda: claims.finish(*place, State.failed, "stale")
    yield "release", lambda: claims.release(*place, "stale")
    yield "lose", lambda: claims.lose(*place, "stale")


def attempts_of(engine: sa.Engine, run_id: str) -> list[sa.Row[Any]]:
    query = sa.select(attempts).join(runs, runs.c.number == attempts.c.run).where(runs.c.id == run_id)
    with read(engine) as connection:
        return list(connection.execute(query.order_by(attempts.c.epoch)).all())


# --- times -------------------------------------------------------------------------------------------------------------


def time_outcomes(engine: sa.Engine, faults: Iterable[Fault], spared_s: float = 0, closed: Sequence[Span] = ()) -> None:
    """Writes down what became of the attempts that each fault hit: ``noticed_s`` until the database knew, ``rerun_s`` until
    the next attempt began; ``noticed_open_s`` and ``rerun_open_s`` without the spans in which the database was ``closed``.

    A lease goes on while it is: only what lies more than ``spared_s`` after the fault, when the lease can be over, is left out.
    """
    for fault in faults:
        for run_id, epoch in fault.hit:
            rows = {row.epoch: row for row in attempts_of(engine, run_id)}
            mine, following = rows.get(epoch), rows.get(epoch + 1)
            if mine is None or mine.ended_at is None or mine.ended_at < fault.time:
                fault.outcome["attempt"] = "had ended"
                continue
            began = {"noticed": mine.ended_at} | ({"rerun": following.started_at} if following else {})
            fault.outcome["attempt"] = mine.outcome
            for name, at in began.items():
                whole, left_out = at - fault.time, overlap_s(fault.time + spared_s, at, closed)
                fault.outcome |= {f"{name}_s": round(whole, 2), f"{name}_open_s": round(whole - left_out, 2)}


def superseded(logs: Path) -> int:
    """How often a supervisor found that its run was another's: in the workers' logs."""
    lines = (
        line for file in sorted(logs.glob("worker*.log*")) for line in file.read_text(errors="replace").splitlines()
    )
    return sum(_event(line) == "superseded" for line in lines if "superseded" in line)


def _event(line: str) -> str:
    with contextlib.suppress(ValueError):
        return str(json.loads(line).get("event"))
    return ""


def percentile(values: Iterable[float], share: float) -> float | None:
    """The least value that ``share`` of the values don't exceed; None without any."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)] if ordered else None
