"""A training process for the fork server's tests: it sleeps, after what its first argument asks for."""

from __future__ import annotations

import os
import subprocess
import sys
import time


def main(what: str, job: str) -> int:
    if what == "say":
        print("said", os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
        return int(os.path.basename(job))
    if what == "raise":
        raise RuntimeError("something unforeseen")
    if what == "parent":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
        print(child.pid, flush=True)
    time.sleep(100)
    return 0
