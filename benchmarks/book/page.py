"""Sections of the book as Markdown, and numbers as text."""

from __future__ import annotations

import csv
import json
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HOLDS, FAILS, OPEN = "holds", "does not hold", "not measured"


@dataclass
class Section:
    """One claim and what the data say. ``answer`` starts with holds, does not hold, undecided or not measured."""

    title: str
    claim: str
    answer: str
    command: str
    raw: Sequence[str] = ()
    setting: str = ""  # seeds, hardware, what the intervals are
    body: Sequence[str] = ()  # paragraphs and tables
    failed: Sequence[str] = ()
    figures: dict[str, str] = field(default_factory=dict)  # file name -> SVG

    @property
    def anchor(self) -> str:
        """The heading's link, by GitHub's rule."""
        return re.sub(r"[^\w\- ]", "", self.title.lower()).replace(" ", "-")

    def text(self) -> str:
        """The section in Markdown."""
        raw = ", ".join(f"[{name}]({name})" for name in self.raw)
        source = (
            f"Command: `{self.command}`." + (f" Raw: {raw}." if raw else "") + (f" {self.setting}" * bool(self.setting))
        )
        parts = [f"## {self.title}", f"**Claim**: {self.claim}. **The data say**: {self.answer}.", source]
        parts += [f"![{self.title}](figures/{name})" for name in self.figures]
        parts += self.body
        if self.failed:
            parts.append("What failed, or is missing:\n\n" + "\n".join(f"- {line}" for line in self.failed))
        return "\n\n".join(parts)


def missing(title: str, claim: str, command: str) -> Section:
    """The section of a raw file that isn't there."""
    return Section(title, claim, OPEN, command)


def loaded(folder: Path, *names: str) -> tuple[str, Any]:
    """Name and content of the first file that is there; ("", None) if none is."""
    for name in names:
        path = folder / name
        if path.exists():
            return name, json.loads(path.read_text(encoding="utf-8"))
    return "", None


def csv_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file; none if there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; bars inside cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def number(value: float | None, digits: int = 3, missing: str = "–") -> str:
    """Fixed digits; never -0."""
    if value is None:
        return missing
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction in per cent."""
    return "–" if value is None else f"{number(100 * value, digits)} %"


def between(ends: Sequence[float] | None, digits: int = 3) -> str:
    """An interval."""
    return "–" if not ends else f"{number(ends[0], digits)} to {number(ends[1], digits)}"


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Mean, least and most."""
    if not values:
        return "–"
    return f"{number(statistics.fmean(values), digits)} ({number(min(values), digits)}–{number(max(values), digits)})"


def p_value(p: float | None) -> str:
    """Three digits, or that it is less."""
    return "–" if p is None else "< .001" if p < 0.001 else number(p, 3)


def answer_of(checks: Sequence[bool | None]) -> str:
    """What several checks say together; None is one that could not be made."""
    if not checks or all(check is None for check in checks):
        return OPEN
    if False in checks:
        return FAILS if True not in checks else f"{FAILS} in {checks.count(False)} of {len(checks)} cases"
    return HOLDS if None not in checks else f"{HOLDS} where it was measured"


def machine_of(report: dict[str, Any]) -> str:
    """The hardware in words, from the keys that the benchmarks write."""
    found = report.get("machine") or report.get("hardware") or {}
    if isinstance(found, str):
        return found
    told = [f"{found[key]} cores" if key in ("cores", "cpus") else str(found[key])
            for key in ("device", "processor", "machine", "cores", "cpus") if found.get(key)]  # fmt: skip
    versions = found.get("versions", found)
    told += [f"{name} {versions[name]}" for name in ("torch", "python") if versions.get(name)]
    return ", ".join(dict.fromkeys(told))
