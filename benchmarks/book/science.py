"""The paper's claims on models trained here, test time, projection, and the speed of plain training."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.book.figures import COLOURS, Mark, Panel, figure
from benchmarks.book.page import (
    FAILS,
    HOLDS,
    OPEN,
    Section,
    answer_of,
    between,
    loaded,
    machine_of,
    missing,
    number,
    spread,
    table,
)

Row = dict[str, Any]
STATEMENTS = {
    "1a": "activations of a recursion occupy a low-dimensional linear subspace",
    "1b": "that subspace is effectively linear",
    "2a": "warm-started power iterations find what the exact SVD finds",
    "2b": "the tracked basis serves later steps as well as their own SVD would",
    "3a": "concentration varies sharply across sites",
    "3b": "the best site allows the paper's 92.5 % compression",
}
SPEEDUP = 1.3
MULTIPLES = (1, 2, 4, 8)
CHOOSERS = ("halt", "mode", "verifier", "any")
SHOWN_K = (1, 2, 4, 8, 16)
CLAIMS, TEST_TIME = "python -m benchmarks.claims", "python -m benchmarks.test_time"
ROLLOUT_CLAIM = "noise rollouts raise the exact accuracy of a trained model that starts between 40 and 90 %"
PROJECTION_CLAIM = (
    "with the latent projected onto its leading directions recursion stays stable and accurate beyond the trained steps"
)
SPEED_CLAIM = f"plain training is at least {SPEEDUP} × as quick as a straightforward eager step of the same numerics"


def sections(folder: Path) -> list[Section]:
    """Claims 1 to 3, test time, projection, speed."""
    return [*_claims(folder), *_test_time(folder), _speed(folder)]


def _claims(folder: Path) -> Iterator[Section]:
    name, report = loaded(folder, "claims.json")
    for claim in "123":
        statements = {key: text for key, text in STATEMENTS.items() if key.startswith(claim)}
        title, text = f"Claim {claim}", "; ".join(f"({key}) {statement}" for key, statement in statements.items())
        if not report:
            yield missing(title, text, CLAIMS)
            continue
        told = [row for row in report["summary"] if row["claim"] in statements]
        late = {key: [row for row in told if row["claim"] == key and row["stage"] == "late"] for key in statements}
        answer = "; ".join(f"{key} {_over_seeds(rows)}" for key, rows in late.items()) + " (late in training)"
        learnt = sorted({row["task"] for row in report["accuracy"]})
        failed = [
            f"{task}: not measured; its rows are not in the raw file." for task in report["tasks"] if task not in learnt
        ]
        body = [_summary(told), *_evidence(claim, report)]
        setting = f"{machine_of(report)}; one thread. Intervals are Student's, 95 %, over seeds. {_learnt(report)}"
        yield Section(title, text, answer, CLAIMS, (name,), setting, body, failed)


def _over_seeds(rows: list[Row]) -> str:
    holds, seeds = sum(row["holds"] for row in rows), sum(row["seeds"] for row in rows)
    if not seeds or all(row["mean"] is None for row in rows):
        return OPEN
    return HOLDS if holds == seeds else FAILS if not holds else f"{FAILS} on {seeds - holds} of {seeds} models"


def _learnt(report: Row) -> str:
    parts = []
    for task in dict.fromkeys(row["task"] for row in report["accuracy"]):
        found = [row for row in report["accuracy"] if row["task"] == task]
        seeds = ", ".join(str(row["seed"]) for row in found)
        parts.append(f"{task}: seeds {seeds}, {spread([100 * row['exact_accuracy'] for row in found], 1)} % exact")
    return "; ".join(parts) + "."


def _summary(rows: list[Row]) -> str:
    head = ("", "held against", "task", "stage", "mean", "95 % interval", "holds")
    return table(head, [
        (row["claim"], row["threshold"], row["task"], row["stage"], number(row["mean"], 4),
         between(row["interval"], 4), f"{row['holds']} of {row['seeds']}")
        for row in sorted(rows, key=lambda row: row["claim"])
    ])  # fmt: skip


def _evidence(claim: str, report: Row) -> Iterator[str]:
    """Profiles with their controls for claim 1, turning bases for claim 2; means over seeds, late in training."""
    if claim == "2":
        yield _drift(report)
        return
    if claim == "3":
        yield "The rank of every site, with the controls, is in the table of [Claim 1](#claim-1)."
        return
    late = [row for row in report["profiles"] if row["stage"] == "late"]
    models = [model for model in dict.fromkeys(row["model"] for row in late) if not model.startswith("step-")]
    head = ("task", "site", *(f"{model}: rank, ID, flat ID" for model in models), "trained, over recursion steps")
    lines = []
    for task, site in dict.fromkeys((row["task"], row["site"]) for row in late):
        here = [row for row in late if (row["task"], row["site"]) == (task, site)]
        cells = [
            _profile([row for row in here if row["model"] == model and row["recursion_step"] == 0]) for model in models
        ]
        steps = [_share(row) for row in here if row["model"] == "trained" and row["recursion_step"] > 0]
        lines.append((task, site, *cells, f"{number(min(steps), 2)}–{number(max(steps), 2)}" if steps else "–"))
    yield (
        "Rank at .95 of the energy over the width; intrinsic dimension (TwoNN), and the same estimate for a Gaussian of equal "
        f"covariance. Controls: `initial` weights, `untied` blocks.\n\n{table(head, lines)}"
    )


def _share(row: Row) -> float:
    return row["ranks"]["0.95"] / row["width"]  # type: ignore[no-any-return]


def _profile(rows: list[Row]) -> str:
    if not rows:
        return "–"
    cells = [number(statistics.fmean(map(_share, rows)), 2)]
    for key in ("intrinsic_dimension", "gaussian_dimension"):
        found = [row[key] for row in rows if row[key] is not None]
        cells.append(number(statistics.fmean(found), 1) if found else "–")
    return ", ".join(cells)


def _drift(report: Row) -> str:
    """Overlaps of leading subspaces, 1 for the same, ``chance`` for unrelated ones; means over seeds."""
    late = [row for row in report["angles"] if row["stage"] == "late" and row["site"] not in ("latent", "answer")]
    turned = ("recursion", "supervision", "least_shared_energy")
    lines = []
    for task, site in dict.fromkeys((row["task"], row["site"]) for row in late):
        here = [row for row in late if (row["task"], row["site"]) == (task, site)]
        inside = [row for row in here if row["model"] == "trained" and "recursion" in row]
        cells = [_mean([row[key] for row in inside if row[key] is not None]) for key in (*turned, "chance")]
        across = []
        for model in dict.fromkeys(row["model"] for row in here if "training" in row):
            found = [row["training"] for row in here if row["model"] == model and "training" in row]
            across.append(f"{model}: {_mean(found)}")
        lines.append((task, site, *cells, ", ".join(across) or "–"))
    head = ("task", "site", "between recursion steps", "supervision steps", "least energy in the shared basis", "chance",
            "from earlier weights to the last")  # fmt: skip
    return (
        f"Overlap of leading subspaces (1: the same), trained models, late, means over seeds.\n\n{table(head, lines)}"
    )


def _mean(values: list[float]) -> str:
    return number(statistics.fmean(values), 2) if values else "–"


def _test_time(folder: Path) -> Iterator[Section]:
    name, report = loaded(folder, "test_time.json")
    if not report:
        yield missing("Test-time scaling", ROLLOUT_CLAIM, TEST_TIME)
        yield missing("Projection", PROJECTION_CLAIM, TEST_TIME)
        return
    found = [entry for entry in report["entries"] if entry["kind"] == "eval"]
    yield _rollouts(name, report, [entry for entry in found if "rollouts" in entry["settings"]])
    yield _projection(name, report, [entry for entry in found if "projection" in entry["settings"]])


def _where(report: Row, entries: list[Row]) -> str:
    seeds = ", ".join(map(str, sorted({entry["seed"] for entry in entries})))
    puzzles = ", ".join(map(str, sorted({entry["settings"]["max_puzzles"] for entry in entries})))
    return f"Seeds {seeds}; {puzzles} unseen puzzles each; {machine_of(report)}; one thread. Means (least–most) over seeds."


def _rollouts(name: str, report: Row, entries: list[Row]) -> Section:
    sigmas = sorted({entry["settings"]["noise"] for entry in entries})
    curves: dict[tuple[float, str], list[list[float]]] = {
        (sigma, chooser): [
            entry["curves"][f"rollouts.exact_accuracy.{chooser}"] for entry in entries if entry["settings"]["noise"] == sigma
        ]
        for sigma in sigmas for chooser in CHOOSERS
    }  # fmt: skip
    lines = [
        (f"{sigma:g}", chooser, *(spread([curve[k - 1] for curve in found if len(curve) >= k]) for k in SHOWN_K))
        for (sigma, chooser), found in curves.items()
    ]
    starts = [curve[0] for found in curves.values() for curve in found]
    in_range = bool(starts) and min(starts) >= 0.4 and max(starts) <= 0.9
    gains = [in_range and all(curve[-1] > curve[0] for curve in curves[sigma, "verifier"]) for sigma in sigmas]
    panels = [
        Panel(f"σ = {sigma:g}", "rollouts K", "exact accuracy", [
            Mark([(k + 1.0, statistics.fmean(values)) for k, values in enumerate(zip(*curves[sigma, chooser], strict=True))],
                 COLOURS[index], chooser) for index, chooser in enumerate(CHOOSERS[:3])
        ])
        for sigma in sigmas
    ]  # fmt: skip
    failed = [
        f"σ = {sigma:g}, {chooser}: no gain at the last K on {flat} of {len(found)} seeds."
        for (sigma, chooser), found in curves.items() if (flat := sum(curve[-1] <= curve[0] for curve in found))
    ]  # fmt: skip
    failed.append("σ was compared on the puzzles that are reported, so the best row flatters a little.")
    body = [table(("σ", "chosen by", *(f"K={k}" for k in SHOWN_K)), lines)]
    answer = f"{answer_of(gains)}, with the verifier, on every seed" if all(gains) and gains else answer_of(gains)
    figures = {"test-time.svg": figure(panels, 3)} if panels else {}
    return Section(
        "Test-time scaling", ROLLOUT_CLAIM, answer, TEST_TIME, (name,), _where(report, entries), body, failed, figures
    )


def _projection(name: str, report: Row, entries: list[Row]) -> Section:
    cases: dict[tuple[str, str], list[dict[str, float]]] = {}
    for entry in entries:
        key = json.dumps(entry["settings"]["projection"], sort_keys=True)
        cases.setdefault((entry["store"], key), []).append(entry["values"])
    lines, gained, stable, without, plain = [], [], [], [], set()
    for (store, key), found in cases.items():
        settings = json.loads(key)
        if store not in plain:
            plain.add(store)
            lines.append((store, "nothing", *_multiples(found, "plain_")))
        lines.append((store, _words(settings), *_multiples(found, "")))
        if settings["basis"] != "random":
            once, late, alone_once, alone = (
                statistics.fmean(values[f"projection.{name}x"] for values in found)
                for name in ("exact_accuracy_1", "exact_accuracy_8", "plain_exact_accuracy_1", "plain_exact_accuracy_8")
            )
            stable.append(late >= once)
            without.append(alone >= alone_once)
            gained.append(100 * (late - alone))
    told = (
        f"no less accurate at 8× the steps than at 1× in {sum(stable)} of {len(stable)} settings, without projection in "
        f"{sum(without)}; at 8×, {min(gained, default=0):+.1f} to {max(gained, default=0):+.1f} points against no projection"
    )
    answer = f"{answer_of(stable)} for stability ({told})"
    head = ("model's store", "projected", *(f"{m}×: exact, drift" for m in MULTIPLES))
    failed = [
        "Random bases of the same rank are in the table as controls: where they do as well, the projection proves nothing."
    ]
    setting = f"{_where(report, entries)} Multiples of the trained supervision steps."
    return Section("Projection", PROJECTION_CLAIM, answer, TEST_TIME, (name,), setting, [table(head, lines)], failed)


def _words(settings: Row) -> str:
    states = "latent and answer" if settings.get("states") == "both" else "latent"
    return f"{states} after every {settings['every']}, {settings['basis']} basis, r={settings['rank']}"


def _multiples(found: list[dict[str, float]], prefix: str) -> Iterator[str]:
    for m in MULTIPLES:
        exact, drift = ([v[f"projection.{prefix}{name}_{m}x"] for v in found] for name in ("exact_accuracy", "drift"))
        yield f"{spread(exact)}, {number(statistics.fmean(drift))}"


def _speed(folder: Path) -> Section:
    command = "python -m benchmarks.training_speed"
    reports = [loaded(folder, name) for name in ("training_speed.json", "training_speed_repeat.json")]
    reports = [(name, report) for name, report in reports if report]
    if not reports:
        return missing("Training speed", SPEED_CLAIM, command)
    lines, checks = [], []
    for name, report in reports:
        for setting, of in report["results"].items():
            for mode in (key for key in of if key.startswith("compile")):
                ours = of[mode]
                lines.append((name.removesuffix(".json"), setting, mode, number(ours["speedup"]), between(ours["interval"]),
                              str(len(ours["ratios"])), number(ours["first_step_s"], 1)))  # fmt: skip
                if mode == "compile on":
                    checks.append(ours["speedup"] >= SPEEDUP)
    head = ("file", "setting", "mode", "× as quick", "95 % interval of the median", "pairs", "first step, s")
    setting = f"{machine_of(reports[0][1])}; one thread, CPU time, interleaved pairs; the cores were shared."
    answer = f"{answer_of(checks)}, compiled (medians)"
    compiled, plain = ([line for line in lines if line[2] == mode] for mode in ("compile on", "compile off"))
    failed = [f"{line[0]}, {line[1]}, compiled: {line[3]} ×." for line in compiled if float(line[3]) < SPEEDUP]
    if plain:
        ratios = [float(line[3]) for line in plain]
        failed.append(f"Without a compiler nothing is won: {min(ratios):.3f} to {max(ratios):.3f} ×.")
    return Section(
        "Training speed",
        SPEED_CLAIM,
        answer,
        command,
        [name for name, _ in reports],
        setting,
        [table(head, lines)],
        failed,
    )
