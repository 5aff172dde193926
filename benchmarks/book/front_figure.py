"""The front as a figure."""

from __future__ import annotations

from benchmarks.book.figures import COLOURS, Mark, Panel, figure
from benchmarks.book.rows import COSINE, Row, by_block, is_narrow_backward


def drawn(rows: list[Row]) -> str:
    """Bytes and time of every setting late in training, without autocast's; rings miss the cosine. Each store is named once,
    at the quickest that doesn't; with reuse, or backward in bfloat16, it counts as another."""
    rows = [row | {"store": _kind(row)} for row in rows if not row.get("autocast")]
    stores = list(dict.fromkeys(row["store"] for row in rows))
    panels = []
    for block, late in by_block(row for row in rows if row["stage"] == "late"):
        late = [row for row in late if row["saved_fraction"] and row["step_time_ratio"]]
        front = _unbeaten([row for row in late if (row["grad_cosine"] or 0) >= COSINE])
        marks = [Mark([_place(row) for row in front], "#bbb")] if len(front) > 1 else []
        quickest = {
            store: min((r for r in late if r["store"] == store), key=_order)
            for store in stores
            if any(row["store"] == store for row in late)
        }
        for row in late:
            named = row is quickest[row["store"]]
            colour = COLOURS[stores.index(row["store"]) % len(COLOURS)]
            missed = (row["grad_cosine"] or 0) < COSINE
            marks.append(Mark([_place(row)], colour, row["store"] if named else "", missed))
        x_name = f"bytes, eager = 1; line: unbeaten; rings: cosine below {COSINE:g}"
        panels.append(Panel(f"{block}, late", x_name, "time, eager = 1", marks, x_log=True))
    return figure(panels)


def _kind(row: Row) -> str:
    return str(row["store"]) + ", reuse" * ("reuse" in row["setting"]) + ", bfloat16" * is_narrow_backward(row)


def _place(row: Row) -> tuple[float, float]:
    return row["saved_fraction"], row["step_time_ratio"]


def _order(row: Row) -> tuple[bool, float]:
    return (row["grad_cosine"] or 0) < COSINE, row["step_time_ratio"]


def _unbeaten(rows: list[Row]) -> list[Row]:
    """Rows that no other beats in bytes and time at once, the fewest bytes first."""
    found: list[Row] = []
    for row in sorted(rows, key=_place):
        if not found or row["step_time_ratio"] < found[-1]["step_time_ratio"]:
            found.append(row)
    return found
