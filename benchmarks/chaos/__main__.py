"""``python -m benchmarks.chaos``: see the package's docstring."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.chaos import work
from benchmarks.chaos.check import Findings, check, percentile, superseded, time_outcomes
from benchmarks.chaos.faults import Fault, stop_supervisor, stop_worker
from benchmarks.chaos.lab import Lab
from benchmarks.chaos.network import why_not
from benchmarks.chaos.scenarios import SCENARIOS, is_as_promised
from benchmarks.chaos.show import showing
from benchmarks.chaos.storm import Storm, settled, summary
from benchmarks.chaos.watch import Watch, overlap_s
from store.settings import Settings


def storm(options: argparse.Namespace) -> dict[str, Any]:
    """The report of a storm."""
    raging = Storm(options.seed, options.faults, options.runs, options.gap, options.steps, options.variants)
    if options.scenario == "stop":
        raging.kinds, raging.points_weight = {stop_supervisor: 2, stop_worker: 1}, 0
    with showing("undisturbed runs", options.variants) as tell:
        calm = {}
        for variant in range(options.variants):
            calm[variant] = work.undisturbed(work.config(variant, options.steps))
            tell(variant + 1, "")
    began = time.monotonic()
    with Lab(options.workers, options.db, **times(options)) as lab:
        with Watch(lab.database.url) as watch, showing("faults", options.faults, "runs", options.runs) as tell:
            in_time = raging.rage(lab, tell, options.limit)
            lab.undo_all()
        settled(lab, lab.settings.heartbeat_s + 1)
        lab.stop_services()
        found = check(lab.engine, lab.settings, raging.submitted, calm)
        time_outcomes(lab.engine, raging.struck, lab.settings.lease_s - lab.settings.heartbeat_s, watch.closed)
        fenced = superseded(lab.stack.home.logs)
        if options.keep_logs:
            lab.keep_logs(options.keep_logs)
    report = outcome(found, raging.struck, raging, fenced) | watched(watch, raging.struck)
    report |= {"in_time": in_time, "wall_s": round(time.monotonic() - began, 1)}
    return report | conditions(lab.settings, options) | {"small_disk": lab.has_small_disk}


def outcome(found: Findings, struck: list[Fault], raging: Storm, fenced: int) -> dict[str, Any]:
    """The figures that the report's readers rely on come first. What happens while nobody can write to the database can't be
    noticed: once a lease can be over those spans don't count in ``detect_`` and ``rerun_``; in ``with_outages`` they do."""
    noticed = [fault for fault in struck if "noticed_s" in fault.outcome]
    deaths = [fault.outcome for fault in noticed if fault.died == "worker"]
    trainers = [fault.outcome for fault in noticed if fault.died == "trainer"]
    counts = found.counts()
    return {
        "faults": len(struck),
        "runs": len(raging.submitted),
        **{name: counts.pop(name) for name in ("lost", "completed_twice", "points_lost", "points_doubled")},
        "weights_differ": counts.pop("weights_differ"),
        "detect_p99_s": _share(deaths, "noticed_open_s", 0.99),
        "rerun_p99_s": _share(deaths, "rerun_open_s", 0.99),
        "detect_median_s": _share(deaths, "noticed_open_s", 0.5),
        "rerun_median_s": _share(deaths, "rerun_open_s", 0.5),
        "detect_with_outages_p99_s": _share(deaths, "noticed_s", 0.99),
        "rerun_with_outages_p99_s": _share(deaths, "rerun_s", 0.99),
        "worker_deaths": len(deaths),
        "noticed_after_30_s": sum(death["noticed_open_s"] > 30 for death in deaths),
        "noticed_after_30_s_with_outages": sum(death["noticed_s"] > 30 for death in deaths),
        "trainer_detect_p99_s": _share(trainers, "noticed_open_s", 0.99),
        "stale_supervisors_fenced": fenced,
        **counts,
        "broken": found.broken(),
        "kinds": summary(struck),
        "list": [fault.to_json() for fault in sorted(struck, key=lambda fault: fault.time)],
    }


def _share(outcomes: list[dict[str, Any]], name: str, share: float) -> float | None:
    return percentile([each[name] for each in outcomes if name in each], share)


def watched(watch: Watch, struck: list[Fault]) -> dict[str, Any]:
    """How long nobody could write to the database, and how much of that was beyond the harness's outages: until a killed
    server is up again, or while a stopped process holds SQLite's lock."""
    outages = [(fault.time, fault.time + fault.seconds) for fault in struck if fault.kind == "database-away"]
    total = sum(end - start for start, end in watch.closed)
    ours = sum(overlap_s(start, end, outages) for start, end in watch.closed)
    return {"database_closed_s": round(total, 1), "database_closed_beyond_outages_s": round(total - ours, 1)}


def is_good(report: dict[str, Any], options: argparse.Namespace) -> bool:
    return bool(report["in_time"]) and not report["broken"] and report["faults"] >= options.faults


def times(options: argparse.Namespace) -> dict[str, float]:
    """The product's own unless ``--quick``."""
    return {"lease_s": 4, "heartbeat_s": 1, "reconcile_s": 1} if options.quick else {}


def conditions(settings: Settings, options: argparse.Namespace) -> dict[str, Any]:
    names = ("laser-lab", "torch", "sqlalchemy", "celery", "kombu", "redis")
    return {
        "command": command(options),
        "seed": options.seed,
        "database": options.db,
        "workers": options.workers,
        "settings": {
            name: getattr(settings, name) for name in ("lease_s", "heartbeat_s", "reconcile_s", "max_attempts")
        },
        "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
        "hardware": {"cpus": os.cpu_count(), "machine": platform.machine(), "load_at_end": os.getloadavg()[1]},
    }


def command(options: argparse.Namespace) -> str:
    names = ("scenario", "seed", "faults", "runs", "workers", "db", "gap", "steps", "variants")
    asked = " ".join(f"--{name} {getattr(options, name)}" for name in names)
    return f"python -m benchmarks.chaos {asked}{' --quick' if options.quick else ''}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenario", choices=("storm", "stop", *SCENARIOS), default="storm")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--db", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--gap", type=float, default=6.0, help="mean seconds between two faults")
    parser.add_argument("--steps", type=int, default=120, help="of each run")
    parser.add_argument(
        "--variants", type=int, default=6, help="different runs, each compared with its undisturbed one"
    )
    parser.add_argument("--away", type=float, default=120.0, help="outage: seconds without a database")
    parser.add_argument("--points", type=int, default=100_000, help="outage: points of each run")
    parser.add_argument("--quick", action="store_true", help="short leases: other times than the product's")
    parser.add_argument("--limit", type=float, default=7200.0, help="seconds after which the storm has failed")
    parser.add_argument("--out", type=Path, default=Path("chaos-report.json"))
    parser.add_argument("--keep-logs", type=Path, help="a folder for the services' logs")
    options = parser.parse_args()
    if options.scenario == "namespaces":
        options.db = "postgres"
        if reason := why_not():
            parser.error(reason)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the lab is taken down
    if options.scenario in SCENARIOS:
        report = conditions(Settings(**times(options)), options) | SCENARIOS[options.scenario](options, times(options))
        options.out.write_text(json.dumps(report, indent=1) + "\n")
        print(f"chaos: {json.dumps(report, indent=1)}")
        return 0 if is_as_promised(report) else 1
    report = storm(options)
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    for promise, lines in report["broken"].items():
        print(f"chaos: {promise}: {len(lines)}, such as {lines[0]}")
    figures = ", ".join(
        f"{report[name]} {name}" for name in ("faults", "runs", "lost", "completed_twice", "points_lost")
    )
    noticed = f"{report['detect_p99_s']} s (p99) of an open database, {report['detect_with_outages_p99_s']} s in all"
    print(f"chaos: {figures}; dead workers noticed within {noticed}; all of it in {options.out}")
    return 0 if is_good(report, options) else 1


if __name__ == "__main__":
    sys.exit(main())
