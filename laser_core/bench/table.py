"""The report as tables of plain text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

Report = dict[str, Any]


def front_table(report: Report) -> str:
    """One table for each block, depth and stage."""
    key = ("block", "latent_steps", "stage")
    parts = []
    for (block, latent_steps, stage), rows in groupby(report["rows"], lambda row: tuple(row[name] for name in key)):
        title = (
            f"{block}, n={latent_steps}, {stage} (saved, peak and time: eager = 1; cosine and error of the gradient)"
        )
        parts.append(f"{title}\n{_aligned([_FRONT, *(_front_row(row) for row in rows)])}")
    return "\n\n".join(parts)


_FRONT = ("store", "setting", "saved", "peak", "time", "interval", "vs checkpoint", "cosine", "error", "code/bound")


def _front_row(row: Report) -> tuple[str, ...]:
    if row["skipped"]:
        return row["store"], row["setting"], f"skipped: {row['skipped']}"
    low, high = row["step_time_interval"] or (None, None)
    return (
        row["store"], row["setting"], _number(row["saved_fraction"], 4), _number(row["peak_fraction"], 3),
        _number(row["step_time_ratio"], 3), f"{_number(low, 3)}–{_number(high, 3)}",
        _number(row["step_time_vs_checkpoint"], 3), _number(row["grad_cosine"], 5), _number(row["grad_relative_error"], 4),
        _number(row.get("code_over_bound"), 3, "-"),
    )  # fmt: skip


def limit_table(report: Report) -> str:
    """Trackers: the energy at their worst site (medians over steps), and what they cost."""
    lines: list[Sequence[str]] = [
        (
            "block",
            "trackers of",
            "energy / best of the step",
            "/ exact SVD at the same updates",
            "time",
            "layout of codes",
        )
    ]
    for block, of in report.get("limit", {}).items():
        for store, measured in of.items():
            tracked = [site for site in measured["sites"].values() if "tracked_median" in site]
            worst = [
                _number(min((site[name] for site in tracked), default=None), 4, "kept in full")
                for name in ("tracked_median", "over_exact_svd_median")
            ]
            lines.append((block, store, *worst, f"{measured['tracker_share']:.2%}", f"{measured['layout_share']:.2%}"))
    return _aligned(lines) if len(lines) > 1 else ""


def depth_table(report: Report) -> str:
    """Held bytes over those of eager training at the first depth."""
    lines: list[Sequence[str]] = [("block", "n", "store", "bytes", "of eager's at the first depth")]
    for row in report.get("depth", []):
        share = _number(row["of_shallowest_eager"], 4)
        store = f"{row['store']}, {row['setting']}"
        lines.append((row["block"], str(row["latent_steps"]), store, f"{row['saved_bytes']:,}", share))
    return _aligned(lines) if len(lines) > 1 else ""


def profile_table(report: Report) -> str:
    """Time shares of every purpose, and its products."""
    parts = []
    for block, stores in report.get("profile", {}).items():
        for store, of in stores.items():
            lines: list[Sequence[str]] = [("purpose", "time", "products")]
            for purpose, share in sorted(of["shares"].items(), key=lambda item: -item[1]):
                lines.append((purpose, f"{share:.1%}", _number(of["products"].get(purpose), 2, "")))
            title = f"{block}, {store}: {of['units']:.1f} units of products, {of['bound']:.3f} of eager's"
            parts.append(f"{title}\n{_aligned(lines)}")
    return "\n\n".join(parts)


def _number(value: float | None, digits: int, missing: str = "?") -> str:
    return missing if value is None else f"{value:.{digits}f}"


def _aligned(lines: list[Sequence[str]]) -> str:
    columns = max(map(len, lines))
    full = [line for line in lines if len(line) == columns]  # a shorter one ends in words, which no column waits for
    widths = [max(len(line[index]) for line in full) for index in range(columns)]
    widths[:2] = (max(len(line[index]) for line in lines) for index in range(2))
    return "\n".join("  " + "  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
