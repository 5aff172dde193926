"""Rows of the front: which belong together."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

Row = dict[str, Any]
COSINE = 0.99  # of a gradient that is good enough


def by_block(rows: Any) -> Iterator[tuple[str, list[Row]]]:
    key = block_of
    for block, found in groupby(sorted(rows, key=key), key=key):
        yield block, list(found)


def block_of(row: Row) -> str:
    return str(row["block"]) + (f", n={row['latent_steps']}" if row.get("latent_steps") else "")


def is_wide(row: Row) -> bool:
    return not row.get("autocast") and not is_narrow_backward(row)


def is_narrow_backward(row: Row) -> bool:
    return not row.get("autocast") and "bfloat16" in row["setting"]


def is_autocast(row: Row) -> bool:
    return bool(row.get("autocast"))
