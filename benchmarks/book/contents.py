"""The whole book: a table of answers, then the sections."""

from __future__ import annotations

from pathlib import Path

from benchmarks.book import accuracy, browser, experiment, front, lab, pool, science, service, verdicts
from benchmarks.book.page import Section, table

HEAD = """# Results

Made by `make results` from the raw files in this folder, every number included; do not edit. Attempts that failed and
scouting runs are in the dated log, [experiments.md](../experiments.md). Eager training of the same model is 1 wherever bytes or
times are fractions.
"""


def sections(folder: Path) -> list[Section]:
    """Every section, measured or not."""
    parts = (
        front.sections,
        accuracy.sections,
        experiment.sections,
        science.sections,
        verdicts.sections,
        pool.sections,
        service.sections,
        browser.sections,
        lab.sections,
    )
    return [section for part in parts for section in part(folder)]


def book(folder: Path) -> dict[str, str]:
    """File names under ``folder`` and their contents: the page and its figures."""
    made = sections(folder)
    answers = table(
        ("claim", "answer"),
        [(f"[{each.title}](#{each.anchor}): {each.claim}", each.answer) for each in made],
    )
    pages = [HEAD, answers, *(each.text() for each in made)]
    figures = {f"figures/{name}": drawing for each in made for name, drawing in each.figures.items()}
    return {"README.md": "\n\n".join(page.strip() for page in pages) + "\n"} | figures
