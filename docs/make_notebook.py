"""Makes the notebook of an example from its script: `# %%` begins a cell, `# %% [markdown]` one of text. `make reference`.

python docs/make_notebook.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parent / "examples"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def notebook(script: str) -> dict[str, Any]:
    """The script as a notebook (nbformat 4.5) without outputs. Words behind ``# %%`` become a cell of text above."""
    cells: list[dict[str, Any]] = []
    for kind, title, body in re.findall(r"(?ms)^# %%( \[markdown\])?([^\n]*)\n(.*?)(?=^# %%|\Z)", script):
        if kind:
            _add(cells, "markdown", re.sub(r"(?m)^# ?", "", body))
            continue
        if title.strip():
            _add(cells, "markdown", title)
        _add(cells, "code", body)
    return {"cells": cells, "metadata": {"kernelspec": KERNEL}, "nbformat": 4, "nbformat_minor": 5}


def text(script: Path) -> str:
    """What stands in the notebook's file."""
    return json.dumps(notebook(script.read_text(encoding="utf-8")), ensure_ascii=False, indent=1) + "\n"


def _add(cells: list[dict[str, Any]], kind: str, source: str) -> None:
    cell = {
        "cell_type": kind,
        "id": f"cell-{len(cells)}",
        "metadata": {},
        "source": source.strip().splitlines(keepends=True),
    }
    cells.append(cell | ({"execution_count": None, "outputs": []} if kind == "code" else {}))


if __name__ == "__main__":
    (EXAMPLES / "pairs.ipynb").write_text(text(EXAMPLES / "pairs.py"), encoding="utf-8")
