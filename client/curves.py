"""A run's curves as numpy arrays, and as one table, which pandas and polars take as it is."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from client.errors import BadInput


@dataclass(frozen=True)
class Curve:
    """One metric: ``values[i]`` was measured at ``steps[i]``; steps rise. NaN and infinities are as they were."""

    steps: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


class Curves(dict[str, Curve]):
    """Curves by metric name, such as ``train.loss``."""

    def table(self) -> dict[str, npt.NDArray[Any]]:
        """Columns of equal length: ``step``, then every metric, with NaN at steps where it wasn't measured."""
        steps = np.unique(np.concatenate([np.empty(0, np.int64), *(curve.steps for curve in self.values())]))
        columns: dict[str, npt.NDArray[Any]] = {"step": steps}
        for key, curve in self.items():
            columns[key] = np.full(len(steps), np.nan)
            columns[key][np.searchsorted(steps, curve.steps)] = curve.values
        return columns

    def to_pandas(self) -> Any:
        """``table`` as a pandas.DataFrame with ``step`` as its index. Raises BadInput without pandas."""
        try:
            import pandas
        except ImportError as error:
            raise BadInput(
                "pandas isn't installed: pip install pandas. Without it, table() gives numpy arrays."
            ) from error
        return pandas.DataFrame(self.table()).set_index("step")


def from_csv(pieces: Iterable[str]) -> Curves:
    """Curves of ``key,step,value`` lines, rows of one key together, as the platform exports them."""
    rows = csv.reader(_lines(pieces))
    next(rows)
    curves = Curves()
    for key, group in itertools.groupby(rows, key=lambda row: row[0]):
        _, steps, values = zip(*group, strict=True)
        curves[key] = Curve(np.array(steps, np.int64), np.array(values, np.float64))
    return curves


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    """With their ends, and broken at these alone: str.splitlines knows a dozen more."""
    rest = ""
    for piece in pieces:
        *whole, rest = (rest + piece).split("\n")
        yield from (line + "\n" for line in whole)
    if rest:
        yield rest
