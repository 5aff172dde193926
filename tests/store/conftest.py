"""Runs at the stages that the store's tests start from."""

from __future__ import annotations

import time

import pytest

from store import claims


@pytest.fixture
def start(engine, settings, submit):
    """Submits a run and puts it in a worker's hands: ``start(seed=1)`` gives its id; its epoch is 1."""

    def start(**changes):
        run = submit(**changes)
        claim = claims.claim_run(engine, "w1", 20, settings=settings, now=time.time())
        assert claim.run_id == run.id
        claims.mark_running(engine, run.id, 1)
        return run.id

    return start
