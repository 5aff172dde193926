"""The locked packages beside the advisories of PyPI, by pip-audit; and what needs no network: each is pinned by hash.

Where no advisories can be reached (a mirror without them, no network), that is said, and it is no failure.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("requirements.lock", "requirements-dev.lock")
SLOW_S = 120


def unpinned(text: str) -> list[str]:
    """Lines of a lock file that don't name one version and its hashes."""
    return [entry.splitlines()[0] for entry in entries(text) if "==" not in entry or "--hash=sha256:" not in entry]


def entries(text: str) -> list[str]:
    """One for each package, with the lines of its hashes."""
    return re.findall(r"^(\S.*(?:\n .*)*)", text, re.MULTILINE)


def advised(lock: str) -> tuple[int, list[str]]:
    """(packages that were asked for, advisories found). Raises TimeoutExpired, ValueError."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(lock)
        file.flush()
        command = [sys.executable, "-m", "pip_audit", "--requirement", file.name, "--disable-pip", "--require-hashes"]
        command += ["--format", "json", "--progress-spinner", "off"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=SLOW_S).stdout
    asked = [package for package in json.loads(answer)["dependencies"] if "skip_reason" not in package]
    found = [
        f"{package['name']} {package['version']}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'no version'}"
        for package in asked
        for flaw in package["vulns"]
    ]
    return len(asked), found


def main() -> int:
    wrong = [f"{name}: {line} isn't pinned by hash" for name in LOCKS for line in unpinned((ROOT / name).read_text())]
    try:
        everything = (ROOT / LOCKS[1]).read_text()  # all of the other too
        asked, found = advised(entries(everything)[0])  # one first: a mirror answers for all or for none
        if asked:
            asked, found = advised(everything)
    except (subprocess.TimeoutExpired, ValueError):
        asked, found = 0, []
    for line in [*wrong, *found]:
        print(line)
    print(f"advisories asked for {asked} packages" if asked else "all pinned by hash; no advisories could be reached")
    return bool(wrong or found)


if __name__ == "__main__":
    sys.exit(main())
