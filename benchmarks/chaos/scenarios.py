"""One thing at a time, at its full size: a flushed broker, a database away for minutes, workers stopped beyond their lease,
and how long a submit and a cancel take."""

from __future__ import annotations

import argparse
import collections
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import sqlalchemy as sa

from benchmarks.chaos import standin, work
from benchmarks.chaos.check import attempts_of, check, percentile, superseded, time_outcomes
from benchmarks.chaos.faults import cut_off
from benchmarks.chaos.lab import Lab
from benchmarks.chaos.network import Machine, holding
from benchmarks.chaos.processes import Training
from benchmarks.chaos.show import showing
from benchmarks.chaos.storm import TICK_S, ended, settled
from store import events, metrics
from store.database import read
from store.policy import BANDS
from store.runs import get_run
from store.states import FINAL, State
from store.tables import attempts, runs

Times = dict[str, float]
T = TypeVar("T")
HELD_S = 26.0  # twice database.SILENT_MS and more: a beat that waited for the lock gets it first, and keeps it as long
FENCED_S = 20.0  # after a network is back, a supervisor tries again within so long


def flush(options: argparse.Namespace, times: Times) -> dict[str, Any]:
    """``--runs`` queued in three bands while no worker is there; the broker forgets every ring; then workers come. Another
    flush hits it half way."""
    with Lab(0, options.db, stands_in=True, **times) as lab:
        bands = [("normal", "low", "high")[number % 3] for number in range(options.runs)]
        with showing("submitted", options.runs) as tell:
            ids = []
            for number, band in enumerate(bands):
                config = _config(f"flush {number}", steps=2)
                ids.append(lab.client.submit(config, f"flush-{number}", priority=band)["id"])
                tell(len(ids), "")
        held = _flush(lab)
        for _ in range(options.workers):
            lab.stack.add_worker()
        ready_at = time.time()
        done, again = 0, 0
        with showing("runs", options.runs) as tell:
            while done < options.runs and time.time() < ready_at + options.limit:
                lab.tend()
                done = ended(lab.engine, ids)
                if done > options.runs // 2 and not again:
                    again = _flush(lab)
                tell(done, "")
                time.sleep(TICK_S)
        order = _claims_in_order(lab.engine)
        wanted = [run_id for *_, run_id in sorted((BANDS[band], n, ids[n]) for n, band in enumerate(bands))]
        firsts = {worker: min(at for _, w, at in order if w == worker) for worker in {w for _, w, _ in order}}
        return {
            "scenario": "flush",
            "runs": options.runs,
            "rings_lost": held,
            "rings_lost_half_way": again,
            "succeeded": sum(get_run(lab.engine, run_id).state == State.succeeded for run_id in ids),
            "claimed_once_each": len(order) == len({run_id for run_id, _, _ in order}),
            "in_policy_order": [run_id for run_id, _, _ in order] == wanted[: len(order)],
            "rung_again_s": round(max(firsts.values()) - ready_at, 2),
            "workers_that_ran": len(firsts),
            "wall_s": round(time.time() - ready_at, 1),
        }


def outage(options: argparse.Namespace, times: Times) -> dict[str, Any]:
    """The database is away for two minutes while four runs say 10⁵ points each."""
    count, steps = 4, options.points // standin.KEYS
    pace = max(1, round(steps / (options.away * 1.75)))
    with Lab(count, options.db, stands_in=True, **times) as lab:
        ids = [
            lab.client.submit(_config(f"outage {n}, {pace} steps/s", steps), f"outage-{n}")["id"] for n in range(count)
        ]
        _until(lab, lambda: all(get_run(lab.engine, run_id).step > 0 for run_id in ids))
        before = [get_run(lab.engine, run_id).step for run_id in ids]
        began = time.time()
        lab.take_database_away(lab.database.outages[0], options.away)
        with showing("seconds away", int(options.away), "runs", count) as tell:
            done = 0
            while done < count:
                lab.tend()
                if not lab.away_until_undone:
                    done = ended(lab.engine, ids)
                tell(min(int(time.time() - began), int(options.away)), done, "")
                time.sleep(TICK_S)
        wanted = {(f"key{k:02d}", s): standin.value(k, s) for k in range(standin.KEYS) for s in range(1, steps + 1)}
        lost = doubled = 0
        for run_id in ids:
            stored = collections.Counter((key, step) for key, step, _ in metrics.iter_points(lab.engine, run_id))
            right = {(key, step) for key, step, x in metrics.iter_points(lab.engine, run_id) if x == wanted[key, step]}
            lost += len(wanted.keys() - right)
            doubled += sum(times - 1 for times in stored.values())
        ends = [get_run(lab.engine, run_id) for run_id in ids]
        return {
            "scenario": "outage",
            "runs": count,
            "points_per_run": len(wanted),
            "away_s": options.away,
            "how": lab.database.outages[0],
            "steps_when_it_went": before,
            "succeeded": sum(run.state == State.succeeded for run in ends),
            "attempts": [run.epoch for run in ends],
            "points_lost": lost,
            "points_doubled": doubled,
        }


def latency(options: argparse.Namespace, times: Times) -> dict[str, Any]:
    """One run at a time on one idle worker: submitted until running, and a cancel until the slot is free."""
    starts, stops, slots = [], [], []
    with Lab(1, options.db, **times) as lab, showing("runs", options.runs) as tell:
        for number in range(options.runs):
            config = _config(f"latency {number}", steps=100_000) | {"store": {"kind": "none"}}
            run_id = lab.client.submit(config, f"latency-{number}")["id"]
            _until(lab, lambda: get_run(lab.engine, run_id).step > 0)  # noqa: B023
            lab.client.cancel(run_id)
            _until(lab, lambda: get_run(lab.engine, run_id).state in FINAL)  # noqa: B023
            moved = {event.data["state"]: event.time for event in events.after(lab.engine, run_id, kind="state")}
            starts.append(moved["running"] - moved["queued"])
            stops.append(moved["cancelled"] - moved["cancelling"])
            slots.append(attempts_of(lab.engine, run_id)[0].ended_at - moved["cancelling"])
            tell(number + 1, "")
    return {
        "scenario": "latency",
        "runs": options.runs,
        "workers": 1,
        "submit_to_running_median_s": percentile(starts, 0.5),
        "submit_to_running_p99_s": percentile(starts, 0.99),
        "cancel_median_s": percentile(stops, 0.5),
        "cancel_p99_s": percentile(slots, 0.99),
    }


def namespaces(options: argparse.Namespace, times: Times) -> dict[str, Any]:
    """Workers on machines of their own share PostgreSQL and a broker over TCP. One after the other is cut off for longer than
    its lease and comes back; the last time in the middle of a transaction that holds the run which it trains."""
    rng, struck, submitted = Random(options.seed), [], {}
    with showing("undisturbed runs", options.variants) as tell:
        calm = {}
        for variant in range(options.variants):
            calm[variant] = work.undisturbed(work.config(variant, options.steps))
            tell(variant + 1, "")
    with Lab(options.workers, "postgres", apart=True, **times) as lab:
        cuts = [*lab.machines, lab.machines[0]]
        with showing("cuts", len(cuts)) as tell:
            for number, machine in enumerate(cuts):
                for _ in range(options.workers):
                    variant = len(submitted) % options.variants
                    submitted[lab.client.submit(work.config(variant, options.steps))["id"]] = variant
                victim = _until(lab, lambda: _saved(lab, machine))  # noqa: B023
                is_held = holding(machine, lab.database.url, victim.run) if number == len(lab.machines) else None
                with is_held or contextlib.nullcontext():
                    struck.append(cut_off(lab, machine, victim, rng, HELD_S if is_held else 0.0))
                    settled(lab, struck[-1].seconds)
                settled(lab, FENCED_S)
                _until(lab, lambda: ended(lab.engine, submitted) == len(submitted))
                tell(len(struck), "")
        lab.stop_services()
        found, fenced = check(lab.engine, lab.settings, submitted, calm), superseded(lab.stack.home.logs)
        time_outcomes(lab.engine, struck)
        attempts = [get_run(lab.engine, run_id).epoch for run_id in submitted]
        if options.keep_logs:
            lab.keep_logs(options.keep_logs)
    return {
        "scenario": "namespaces",
        "runs": len(submitted),
        "attempts": attempts,
        "cuts": len(struck),
        "stale_supervisors_fenced": fenced,
        **found.counts(),
        "noticed_s": [fault.outcome.get("noticed_s") for fault in struck],
        "rerun_s": [fault.outcome.get("rerun_s") for fault in struck],
        "broken": found.broken(),
        "list": [fault.to_json() for fault in struck],
    }


def _saved(lab: Lab, machine: Machine) -> Training | None:
    """What is trained there, once there is a checkpoint to go on from."""
    (worker,) = (service for service in lab.stack.services if service.name == f"worker{machine.number}")
    assert worker.process is not None
    here = (training for training in lab.trainings() if training.worker == worker.process.pid)
    return next((training for training in here if get_run(lab.engine, training.run).checkpoint), None)


SCENARIOS: dict[str, Callable[[argparse.Namespace, Times], dict[str, Any]]] = {
    "flush": flush,
    "outage": outage,
    "latency": latency,
    "namespaces": namespaces,
}


def is_as_promised(report: dict[str, Any]) -> bool:
    """Against the bounds that the scenario has to show."""
    match report["scenario"]:
        case "flush":
            every = report["succeeded"] == report["runs"] and report["claimed_once_each"] and report["in_policy_order"]
            return bool(every and report["rung_again_s"] <= 60)
        case "outage":
            return bool(report["succeeded"] == report["runs"] and not report["points_lost"] + report["points_doubled"])
        case "namespaces":
            fenced = report["stale_supervisors_fenced"] >= report["cuts"] and report["stale_writes_refused"]
            return bool(not report["broken"] and fenced and max(report["noticed_s"]) <= 30)
        case _:
            return bool(report["submit_to_running_median_s"] <= 1 and report["cancel_p99_s"] <= 15)


def _config(name: str, steps: int) -> dict[str, Any]:
    return {
        "kind": "train",
        "name": name,
        "task": {"kind": "sudoku", "size": 4, "train_puzzles": 8, "test_puzzles": 4},
        "model": {"width": 8, "heads": 1, "layers": 1, "latent_steps": 1, "cycles": 1},
        "training": {"steps": steps, "batch_size": 4, "warmup_steps": 1},
    }


def _flush(lab: Lab) -> int:
    """Rings that the broker forgot."""
    with lab.broker() as broker:
        held = int(broker.llen("celery"))
        broker.flushall()
    return held


def _claims_in_order(engine: sa.Engine) -> list[tuple[str, str, float]]:
    """(run, worker, time) of every claim; claims are made one at a time."""
    query = sa.select(runs.c.id, attempts.c.worker_id, attempts.c.started_at).join(
        runs, runs.c.number == attempts.c.run
    )
    with read(engine) as connection:
        return [tuple(row) for row in connection.execute(query.order_by(attempts.c.started_at))]


def _until(lab: Lab, holds: Callable[[], T], limit_s: float = 300.0) -> T:
    """Its first true answer."""
    deadline = time.monotonic() + limit_s
    while not (answer := holds()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the lab did not get there within {limit_s:g} s; its logs are in {Path(lab.home)}")
        lab.tend()
        time.sleep(0.05)
    return answer
