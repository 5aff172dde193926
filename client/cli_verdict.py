"""``laser verdict``: a file of paired seeds, judged without a platform."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from client.errors import BadInput
from client.options import AsJson
from client.output import out, print_json

if TYPE_CHECKING:
    from laser_core.verdicts import Interval, Verdict

COLUMNS = ("seed", "baseline", "variant")
WORDS = {
    "better": "The variant is better.",
    "worse": "The variant is worse.",
    "equivalent": "The variant is equivalent: any difference is inside the margin.",
    "undecided": "Undecided: neither a difference nor equivalence is shown.",
    "too few seeds": "Too few seeds: under 6 pairs nothing can be shown.",
}


def register(app: typer.Typer) -> None:
    """Adds the command to the ``laser`` command."""
    app.command(rich_help_panel="Runs")(verdict)


def verdict(
    file: Annotated[Path, typer.Argument(help="CSV file with the columns seed, baseline, variant, in per cent.")],
    margin: Annotated[
        float, typer.Option(help="Percentage points that don't matter, chosen before the runs were made.")
    ],
    as_json: AsJson = False,
) -> None:
    """Is a variant better, worse, equivalent, or can't its seeds say? Needs no platform."""
    from laser_core.verdicts import verdict as judge  # scipy takes a second to load

    if not (math.isfinite(margin) and margin > 0):
        raise BadInput(f"--margin: expected more than 0 percentage points, got {margin:g}")
    baseline, variant = _read(file)
    found = judge(baseline, variant, margin)
    if as_json:
        print_json(found.to_json())
    else:
        out.print(words(found), highlight=False, markup=False)


def words(found: Verdict) -> str:
    """The answer, then what it rests on, a line each."""
    lines = [WORDS[found.answer], f"{found.pairs} pairs, margin {found.margin:g} points"]
    if found.t and found.tost and found.mean is not None and found.non_inferiority_p is not None:
        t = f"t = {found.t.statistic:.3f}, p = {found.t.p:.3g}"
        lines += [
            f"mean difference {found.mean:+.3f} points, 95 % interval {_interval(found.t)}",
            f"paired t-test      {t}",
            f"sign-flip test     p = {found.sign_flip_p:.3g}",
            f"equivalence (TOST) p = {found.tost.p:.3g}, 90 % interval {_interval(found.tost)}",
            f"not worse by the margin: p = {found.non_inferiority_p:.3g}",
            f"pairs that would show equivalence, if there is no difference: {found.pairs_needed}",
        ]
    return "\n".join(lines)


def _interval(interval: Interval) -> str:
    return f"{interval.low:+.3f} to {interval.high:+.3f}"


def _read(path: Path) -> tuple[list[float], list[float]]:
    """Baseline and variant by seed. Raises BadInput naming the line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, skipinitialspace=True)
            names = [name.strip() for name in rows.fieldnames or ()]
            if missing := [name for name in COLUMNS if name not in names]:
                raise BadInput(f"{path}: no column {', '.join(missing)}; expected seed,baseline,variant")
            rows.fieldnames = names
            found: dict[str, tuple[float, float]] = {}
            for row in rows:
                seed = (row["seed"] or "").strip()
                if not seed or seed in found:
                    what = f"seed {seed} is there twice" if seed else "no seed"
                    raise BadInput(f"{path}, line {rows.line_num}: {what}; expected every seed once")
                found[seed] = (
                    _number(path, rows.line_num, row, "baseline"),
                    _number(path, rows.line_num, row, "variant"),
                )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from error
    return [pair[0] for pair in found.values()], [pair[1] for pair in found.values()]


def _number(path: Path, line: int, row: dict[str, str], name: str) -> float:
    text = (row[name] or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadInput(
            f"{path}, line {line}: {name}: expected per cent, got {text[:40]!r}; leave out the whole pair of a failed run"
        )
    return value
