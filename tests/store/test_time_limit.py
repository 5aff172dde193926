"""A run's time is counted over all its attempts, and told by the heartbeat."""

from __future__ import annotations

import time

from laser_core.config import parse_run
from store import claims
from store.pause import request_pause, resume
from store.requests import Request
from store.submit import create_run

T0 = time.time()


def test_time_is_counted_over_all_attempts_and_not_while_it_waits(engine, settings, owner):
    run, _ = create_run(engine, parse_run({"kind": "train"}), owner, request=Request(time_limit_s=100), now=T0)
    assert run.time_limit_s == 100

    def take(now):
        epoch = claims.claim_run(engine, "w1", 1e9, settings=settings, now=now).epoch
        claims.mark_running(engine, run.id, epoch, now=now)
        return epoch

    def is_over(epoch, now):
        return claims.heartbeat(engine, run.id, epoch, 1e9, now=now).limit

    first = take(T0)
    assert not is_over(first, T0 + 60)
    request_pause(engine, run.id, now=T0 + 60)
    claims.release(engine, run.id, first, "paused", now=T0 + 60)
    resume(engine, run.id, now=T0 + 500)
    second = take(T0 + 600)
    assert not is_over(second, T0 + 639)
    assert is_over(second, T0 + 640)


def test_without_a_limit_it_is_never_over(engine, start):
    run_id = start()
    assert not claims.heartbeat(engine, run_id, 1, 1e9, now=T0 + 1e8).limit
