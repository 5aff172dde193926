"""Writes docs/results/README.md and its figures anew from the raw files beside it.

.venv/bin/python -m benchmarks.book [--folder docs/results]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.book.contents import book


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("docs/results"), help="where the raw files are")
    folder = parser.parse_args().folder
    made = book(folder)
    for name, text in made.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for stale in (folder / "figures").glob("*.svg"):
        if f"figures/{stale.name}" not in made:
            stale.unlink()
    print(f"results: {folder / 'README.md'} and {len(made) - 1} figures")


if __name__ == "__main__":
    main()
