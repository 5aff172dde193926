"""Bytes, time and gradients of the stores: the front, its limits, depth, where the time goes, and a GPU."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from benchmarks.book.front_figure import drawn
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
    percent,
    table,
)
from benchmarks.book.rows import COSINE, Row, block_of, by_block, is_autocast, is_narrow_backward, is_wide
from laser_core.bench.timing import interval

FILES, GPU_FILE = "bench_core*.json", "bench_gpu.json"  # a block or a section may be measured apart
COMMAND, GPU_COMMAND = "make bench-core", "make bench-gpu"
HELD, OF_QUANT = 0.035, 0.6
OVER_BOUND, TRACKED, TRACKER_TIME = 1.3, 0.99, 0.02
SPECTRA, BASES = "code_over_bound", "code_over_basis_bound"
BLOCKS = {"attention", "mlp"}
DEPTH_SHARES = {12: 0.10, 24: 0.20}  # of eager's bytes at n=6
MEDIANS = "Times are medians of paired, interleaved ratios with the 95 % interval of the median."

FRONT_CLAIM = (
    f"late in training a `laser-coded` setting has a gradient cosine of at least {COSINE}, holds at most {HELD:.1%} of "
    f"eager's bytes and beats the time of checkpointing per block; and it takes at most {OF_QUANT:.0%} of the "
    "bytes of quantisation at equal cosine"
)
LIMIT_CLAIM = (
    f"codes take at most {OVER_BOUND} × the bits of the rate–distortion bound; trackers hold {TRACKED:.0%} of the exact SVD's "
    f"energy and take at most {TRACKER_TIME:.0%} of a step"
)
DEPTH_CLAIM = "deeper recursions fit: " + " and ".join(
    f"n={n} in {share:.0%}" for n, share in DEPTH_SHARES.items()
) + " of the bytes that eager training holds at n=6"  # fmt: skip
PROFILE_CLAIM = "where a step's time goes, and how close the arithmetic lets it come to eager's"
GPU_CLAIM = "at width 512 and batch 768 in bfloat16 `laser-coded` lowers the peak of a GPU's memory"


def sections(folder: Path) -> list[Section]:
    """The front and all that the same benchmark measured."""
    parts = dict(loaded(folder, path.name) for path in sorted(folder.glob(FILES)))
    made = []
    for section, key in ((_front, "rows"), (_limit, "limit"), (_depth, "depth"), (_profile, "profile")):
        names = tuple(name for name, part in parts.items() if part.get(key) or (key == "limit" and part["rows"]))
        made.append(section(names, _joined([parts[name] for name in names])))
    name, gpu = loaded(folder, GPU_FILE)
    return [*made, _gpu((name,), gpu)]


def _joined(parts: list[Row]) -> Row | None:
    """One report of several files; its machine is all of theirs."""
    if not parts:
        return None
    runs = [run for part in parts for run in part["config"].get("runs", [])]
    return {
        "rows": [row for part in parts for row in part["rows"]],
        "depth": [row for part in parts for row in part.get("depth", [])],
        "limit": {block: of for part in parts for block, of in part.get("limit", {}).items()},
        "profile": {block: of for part in parts for block, of in part.get("profile", {}).items()},
        "config": parts[0]["config"] | {"runs": runs},
        "machine": "; ".join(dict.fromkeys(map(machine_of, parts))),
    }


def _setting(report: Row) -> str:
    config = report["config"]
    runs = config.get("runs", [])
    seeds = sorted({run["seed"] for run in runs if "seed" in run})
    told = f"Seed {', '.join(map(str, seeds))}; " if seeds else ""
    told += f"{config['repetitions']} repetitions; " if "repetitions" in config else ""
    return f"{told}{machine_of(report)}. {MEDIANS}"


def _front(names: Sequence[str], report: Row | None) -> Section:
    if not report or not report["rows"]:
        return missing("The front", FRONT_CLAIM, COMMAND)
    measured = [row for row in report["rows"] if not row.get("skipped")]
    plain = [row for row in measured if not row.get("autocast")]
    cases: dict[str, tuple[Row | None, bool | None]] = {}
    matched: dict[str, set[str]] = {}
    for block, late in by_block(row for row in plain if row["stage"] == "late"):
        best = _dominating(late)
        against = [ratio for _, ratio in _of_quant(late)]
        matched[block] = {row["setting"] for row, _ in _of_quant(late)}
        cases[block] = (best, bool(against) and max(against) <= OF_QUANT if _has(late, "quant") else None)
    checks = [check for best, against in cases.values() for check in (best is not None, against)]
    lacking = sorted(BLOCKS - {row["block"] for row in measured if row["stage"] == "late"})
    checks += [None for _ in lacking]
    body = [_met(cases), *_formats(measured), *_quant_tables(plain)]
    body += [_front_table(key, rows) for key, rows in _groups(report["rows"])]
    failed = [
        f"`{row['store']}` {row['setting']}, {row['block']}, {row['stage']}: skipped, {row['skipped']}."
        for row in report["rows"] if row.get("skipped")
    ]  # fmt: skip
    missed = [
        f"{block}: no setting of `laser-coded` meets all three limits late."
        for block, (best, _) in cases.items()
        if not best
    ]
    missed += [f"{block}: not measured to the end yet; the command goes on with it." for block in lacking]
    missed += [
        f"{block_of(row)}: no setting of `laser-coded` has the cosine of `quant`, {row['setting']}, late; it is not compared."
        for row in plain
        if row["stage"] == "late" and row["store"] == "quant" and row["setting"] not in matched[block_of(row)]
    ]
    drawing = {"front.svg": drawn(measured)} if any(row["stage"] == "late" for row in measured) else {}
    return Section(
        "The front", FRONT_CLAIM, answer_of(checks), COMMAND, names, _setting(report), body, missed + failed, drawing
    )


def _groups(rows: list[Row]) -> Iterator[tuple[str, list[Row]]]:
    for key, found in groupby(rows, lambda row: f"{block_of(row)}, {row['stage']}"):
        yield key, list(found)


def _has(rows: list[Row], store: str) -> bool:
    return any(row["store"] == store for row in rows)


def _dominating(rows: list[Row]) -> Row | None:
    """The setting with the fewest bytes that meets the limits; its whole interval must be below checkpoint's time."""
    good = [row for row in rows if row["store"] == "laser-coded" and _meets(row, rows)]
    return min(good, key=lambda row: row["saved_fraction"], default=None)


def _meets(row: Row, rows: list[Row]) -> bool:
    interval = row.get("step_time_vs_checkpoint_interval")
    if not interval:  # a file of the agreed columns alone: medians side by side
        per_block = [o["step_time_ratio"] for o in rows if o["store"] == "checkpoint" and o["setting"] == "block"]
        interval = (0.0, row["step_time_ratio"] / per_block[0]) if per_block else (0.0, 1.0)
    return (row["grad_cosine"] or 0) >= COSINE and (row["saved_fraction"] or 1) <= HELD and interval[1] < 1


def _of_quant(rows: list[Row]) -> Iterator[tuple[Row, float]]:
    """Every quantised row, and the bytes of the smallest coded setting with no lower cosine, over its own."""
    for quant in (row for row in rows if row["store"] == "quant" and row["grad_cosine"] is not None):
        as_good = [
            row["saved_fraction"] for row in rows
            if row["store"] == "laser-coded" and (row["grad_cosine"] or 0) >= quant["grad_cosine"]
        ]  # fmt: skip
        if as_good:
            yield quant, min(as_good) / quant["saved_fraction"]


def _met(cases: dict[str, tuple[Row | None, bool | None]]) -> str:
    lines = []
    for block, (best, against) in cases.items():
        quant = "not measured" if against is None else "met" if against else "not met"
        if best is None:
            lines.append((block, "none", "–", "–", "–", "–", quant))
            continue
        lines.append((
            block, best["setting"], number(best["grad_cosine"], 4), percent(best["saved_fraction"], 2),
            number(best.get("step_time_vs_checkpoint")), between(best.get("step_time_vs_checkpoint_interval")), quant,
        ))  # fmt: skip
    head = ("block, late", "fewest bytes within the limits", "cosine", "bytes", "time / checkpoint", "interval",
            f"≤ {OF_QUANT:.0%} of quant")  # fmt: skip
    return table(head, lines)


FORMATS = (
    "Rows with `bfloat16` multiply in it in backward alone; rows with `autocast` do so in forward as well, and their gradient "
    "is that of a rounded forward pass. What either gains over the same row without is the number format's and not LASER's, "
    "so stores are to be compared within a format. Late in training, times over checkpointing's in float32, and under "
    "autocast over checkpointing's there:"
)


def _formats(rows: list[Row]) -> Iterator[str]:
    """Within each number format the quickest of every store whose gradient is good enough, beside checkpointing in it."""
    lines = []
    for block, late in by_block(row for row in rows if row["stage"] == "late" and row.get("step_times_s")):
        per_block = [row for row in late if row["store"] == "checkpoint" and "block" in row["setting"]]
        for name, belongs, peer in (
            ("float32", is_wide, is_wide),
            ("backward in bfloat16", is_narrow_backward, is_wide),  # checkpointing knows no such thing
            ("autocast", is_autocast, is_autocast),
        ):
            checkpoint = next(filter(peer, per_block), None)
            for store in ("laser-coded", "quant"):
                good = [r for r in late if belongs(r) and r["store"] == store and r["grad_cosine"] >= COSINE]
                best = min(good, key=lambda row: row["step_time_ratio"], default=None)
                lines.append((block, name, store, *_beside(best, checkpoint)))
    if any(row.get("autocast") for row in rows):
        head = (
            "block, late",
            "format",
            "store",
            "its quickest setting",
            "bytes",
            "cosine",
            "time / checkpoint",
            "interval",
        )
        yield f"{FORMATS}\n\n{table(head, lines)}"


def _beside(row: Row | None, checkpoint: Row | None) -> tuple[str, ...]:
    if row is None:
        return f"none with a cosine of {COSINE:g}", "–", "–", "–", "–"
    told = row["setting"], percent(row["saved_fraction"], 2), number(row["grad_cosine"], 4)
    if checkpoint is None:
        return *told, "–", "–"
    ratios = [mine / its for mine, its in zip(row["step_times_s"], checkpoint["step_times_s"], strict=True)]
    return *told, number(statistics.median(ratios)), between(interval(ratios))


def _front_table(key: str, rows: list[Row]) -> str:
    head = ("store", "setting", "bytes", "peak", "time", "interval", "cosine", "relative error", "code / bound")
    lines = [
        (
            row["store"], row["setting"], percent(row["saved_fraction"], 2), percent(row["peak_fraction"]),
            number(row["step_time_ratio"]), between(row["step_time_interval"]), number(row["grad_cosine"], 5),
            number(row["grad_relative_error"], 4), number(row.get("code_over_bound")),
        )
        for row in rows if not row.get("skipped")
    ]  # fmt: skip
    return f"{key}:\n\n{table(head, lines)}"


def _quant_tables(rows: list[Row]) -> Iterator[str]:
    lines = [
        (block_of(quant), quant["setting"], number(quant["grad_cosine"], 4), number(ratio))
        for _, late in by_block(row for row in rows if row["stage"] == "late") for quant, ratio in _of_quant(late)
    ]  # fmt: skip
    if lines:
        head = ("block, late", "quant", "its cosine", "bytes of the smallest coded setting no worse / its bytes")
        yield table(head, lines)


def _limit(names: Sequence[str], report: Row | None) -> Section:
    rows = [row for row in report["rows"] if row.get(SPECTRA) and is_wide(row)] if report else []
    if not report or (not report.get("limit") and not rows):
        return missing("The limit", LIMIT_CLAIM, COMMAND)
    checks: list[bool | None] = []
    lines = []
    for block, stores in report.get("limit", {}).items():
        for store, of in stores.items():
            tracked = [site for site in of["sites"].values() if "over_exact_svd_median" in site]
            worst = [
                min((s[key] for s in tracked), default=None) for key in ("tracked_median", "over_exact_svd_median")
            ]
            checks += [None if worst[1] is None else worst[1] >= TRACKED, of["tracker_share"] <= TRACKER_TIME]
            resets = sum(site["resets"] for site in tracked)
            lines.append((block, store, *(number(value, 4, "kept in full") for value in worst), str(resets),
                          percent(of["tracker_share"], 2), percent(of["layout_share"], 2)))  # fmt: skip
    head = (
        "block",
        "trackers of",
        "worst site, of the step's best",
        "of the exact SVD's",
        "resets",
        "time",
        "layout of codes",
    )
    setting = (
        f"{_setting(report)} Codes are those of batches that neither bases nor their plans come from, and the bound is that of "
        "the spectra of these batches together: a single batch's tail is its own, and no code made before could know it. In "
        "brackets, the bound is that of the energies along the basis at hand: what is above it is the codes' own part. The "
        "rest is the basis's: what its rank leaves out, codes can't lose, and its directions aren't quite those of these "
        "batches. With `reuse`, recursion steps at rest take no bits, and codes stay below bounds that take steps for "
        "independent. "
        "Energies are medians over steps at the worst site; planted subspaces are in `tests/core`. Trackers are timed from "
        "the middle of training on; over the first steps, while bases settle, they take more (see "
        "[experiments.md](../experiments.md))."
    )
    answer = f"codes, by the spectra: {_codes_answer(rows, SPECTRA)}; by the energies along their bases: "
    answer += f"{_codes_answer(rows, BASES)}; trackers: {answer_of(checks)}"
    return Section("The limit", LIMIT_CLAIM, answer, COMMAND, names, setting, [_codes_table(rows), table(head, lines)])


def _codes_answer(rows: list[Row], key: str) -> str:
    if not rows or not all(row.get(key) for row in rows):
        return OPEN
    settings = list(dict.fromkeys(row["setting"] for row in rows))
    most = {name: max(row[key] for row in rows if row["setting"] == name) for name in settings}
    within = [f"{name} (at most {number(x)})" for name, x in most.items() if x <= OVER_BOUND]
    if not within:
        return FAILS
    return f"{HOLDS} at every stage with {' and '.join(within)}, not with {len(most) - len(within)} others"


def _codes_table(rows: list[Row]) -> str:
    """Bits over the bound, a line for each setting of a block."""
    by_setting: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        over = f"{number(row[SPECTRA])} ({number(row.get(BASES))})"
        by_setting.setdefault((block_of(row), row["setting"]), {})[row["stage"]] = over
    stages = ("init", "mid", "late")
    lines = [(*key, *(of.get(stage, "–") for stage in stages)) for key, of in by_setting.items()]
    return table(("block", "laser-coded, bits / bound", *stages), lines)


def _depth(names: Sequence[str], report: Row | None) -> Section:
    rows = report.get("depth") if report else None
    if not report or not rows:
        return missing("Depth", DEPTH_CLAIM, f"{COMMAND} ARGS='--sections depth'")
    checks = [
        row["of_shallowest_eager"] <= DEPTH_SHARES[row["latent_steps"]]
        for row in rows if row["store"] == "laser-coded" and row["latent_steps"] in DEPTH_SHARES
    ]  # fmt: skip
    head = ("block", "n", "T", "store", "setting", "bytes", "of eager's at the first depth", "steps trained")
    lines = [
        (row["block"], str(row["latent_steps"]), str(row["cycles"]), row["store"], row.get("setting", "–"),
         f"{row['saved_bytes']:,}", percent(row["of_shallowest_eager"]), str(row.get("steps", "–"))) for row in rows
    ]  # fmt: skip
    return Section(
        "Depth", DEPTH_CLAIM, answer_of(checks), COMMAND, names, machine_of(report) + ".", [table(head, lines)]
    )


def _profile(names: Sequence[str], report: Row | None) -> Section:
    if not report or not report.get("profile"):
        return missing("Where the time goes", PROFILE_CLAIM, f"{COMMAND} ARGS='--sections profile'")
    body = []
    for block, stores in report["profile"].items():
        purposes = list(dict.fromkeys(purpose for of in stores.values() for purpose in of["shares"]))
        lines = [(p, *(percent(of["shares"].get(p)) for of in stores.values())) for p in purposes]
        lines.append(("matrix products, eager = 1", *(number(of["bound"]) for of in stores.values())))
        body.append(f"{block}, share of the operators' time:\n\n{table(('purpose', *stores), lines)}")
    return Section(
        "Where the time goes",
        PROFILE_CLAIM,
        "measured; see the table",
        COMMAND,
        names,
        machine_of(report) + ".",
        body,
    )


def _gpu(names: Sequence[str], report: Row | None) -> Section:
    if not report or not report["rows"]:
        return missing("GPU", GPU_CLAIM, GPU_COMMAND)
    head = (
        "block",
        "stage",
        "store",
        "setting",
        "peak MiB",
        "peak",
        "step ms",
        "time",
        "interval",
        "samples/s",
        "cosine",
    )
    lines: list[tuple[str, ...]] = []
    checks: list[bool | None] = []
    on_gpu = bool(report["hardware"].get("gpu_memory_bytes"))
    for row in report["rows"]:
        if row["store"] == "laser-coded" and row.get("peak_fraction"):
            checks.append(row["peak_fraction"] < 1 if on_gpu else None)
        peak = row["peak_bytes"] / 2**20 if row.get("peak_bytes") else None
        time = row["step_time_s"] * 1e3 if row.get("step_time_s") else None
        lines.append((
            block_of(row), row["stage"], row["store"], row["setting"], number(peak, 1), percent(row.get("peak_fraction")),
            number(time, 1), number(row.get("step_time_ratio")), between(row.get("step_time_interval")),
            number(row.get("samples_per_s"), 0), number(row.get("grad_cosine"), 4),
        ))  # fmt: skip
    failed = [
        f"`{row['store']}` {row['setting']}: skipped, {row['skipped']}." for row in report["rows"] if row.get("skipped")
    ]
    return Section(
        "GPU", GPU_CLAIM, answer_of(checks), GPU_COMMAND, names, _setting(report), [table(head, lines)], failed
    )
