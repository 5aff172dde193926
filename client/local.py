"""Hands a run over to ``python -m laser_core``, which needs no platform."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from typing import Any, NoReturn

from client.errors import BadInput


def become_run(config: dict[str, Any], options: Sequence[str], checkout: dict[str, Any] | None = None) -> NoReturn:
    """Turns this process into the one that carries out the run, so that Ctrl-C and the exit code are its own. It reads the
    configuration from standard input, and the checkout from another open file: there is none to remove afterwards. Raises
    BadInput without torch."""
    if importlib.util.find_spec("torch") is None:
        raise BadInput("torch isn't installed here: pip install torch, or `laser submit` to a platform that has it.")
    os.dup2(_holding(config), sys.stdin.fileno())
    if checkout:
        file = _holding(checkout)
        os.set_inheritable(file, True)
        options = [*options, "--checkout", f"/dev/fd/{file}"]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "laser_core", "-", *options])


def _holding(value: dict[str, Any]) -> int:
    """Descriptor of an open file without a name, of this JSON."""
    with tempfile.TemporaryFile() as text:
        text.write(json.dumps(value, default=str).encode())
        text.seek(0)
        return os.dup(text.fileno())
