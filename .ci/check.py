"""`make check`: every static check, side by side, each with a line of verdict; then what the failed ones printed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
PYTHON_ROOMS = ["laser_core", "store", "api", "worker", "client", "tests", "benchmarks", "docs", ".ci"]

CHECKS: dict[str, list[str]] = {
    "types (mypy)": [f"{BIN}/mypy"],
    "web types and lint": ["web/npm", "run", "--silent", "check"],
    "web types follow the API": [sys.executable, ".ci/check.py", "web-types"],
    "reference follows the code": [sys.executable, "docs/make_reference.py", "--check"],
    "import rules": [f"{BIN}/lint-imports", "--cache-dir", ".cache/import-linter"],
    "lint": [f"{BIN}/ruff", "check", "--cache-dir", ".cache/ruff", *PYTHON_ROOMS],
    "format": [f"{BIN}/ruff", "format", "--check", "--cache-dir", ".cache/ruff", *PYTHON_ROOMS],
    "Compose file": [f"{BIN}/docker-compose", "--file", "docker-compose.yml", "config", "--quiet"],
    "Dockerfile": [f"{BIN}/hadolint", "Dockerfile"],
    "dependency audit": [sys.executable, ".ci/audit.py"],
}


def web_types() -> str:
    """Empty when web/src/api/types.ts is what the API's schema generates; else what to do."""
    schema = subprocess.run([sys.executable, "-m", "api.openapi"], capture_output=True, text=True, check=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "openapi.json").write_text(schema)
        made = Path(folder) / "types.ts"
        command = ["web/npm", "exec", "--", "openapi-typescript", f"{folder}/openapi.json", "--output", str(made)]
        subprocess.run(command, check=True, capture_output=True)
        current = made.read_text() == (ROOT / "web/src/api/types.ts").read_text()
    return "" if current else "web/src/api/types.ts lags behind the API: run `make types`"


def run(name: str) -> tuple[str, int, float, str]:
    started = time.monotonic()
    environment = {**os.environ, "CI": "true", "NO_COLOR": "1", "MYPY_CACHE_DIR": ".cache/mypy"}
    done = subprocess.run(CHECKS[name], cwd=ROOT, env=environment, capture_output=True, text=True)
    return name, done.returncode, time.monotonic() - started, done.stdout + done.stderr


def main() -> int:
    failed = []
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        for name, code, seconds, output in pool.map(run, CHECKS):
            said = f": {output.splitlines()[-1]}" if name == "dependency audit" and not code else ""
            print(f"  {'ok  ' if code == 0 else 'FAIL'} {name} ({seconds:.0f} s){said}", flush=True)
            if code:
                failed.append((name, output))
    for name, output in failed:
        print(f"\n--- {name}\n{output.strip()}")
    print(f"check: {len(CHECKS) - len(failed)} of {len(CHECKS)} passed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(web_types() or 0 if sys.argv[1:] == ["web-types"] else main())
