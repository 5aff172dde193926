"""Whose turn it is, live: three users submit over HTTP, and two real workers of one slot take runs in the policy's order."""

from __future__ import annotations

import time
from collections import Counter

import pytest
import sqlalchemy as sa

from benchmarks.chaos.lab import Lab
from client.http import Client
from store.database import read, write
from store.policy import Account, Policy, fair_shares
from store.runs import get_run
from store.states import FINAL
from store.tables import attempts, runs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SHARES = {"ann": 2.0, "bob": 1.0, "cat": 1.0}
EACH = {"ann": 8, "bob": 5, "cat": 5}  # runs of the normal band
POLICY = Policy()
SETTLING_S = 0.5  # an ending is written down a moment after its time


def test_runs_start_in_the_order_of_the_policy():
    with Lab(2, stands_in=True, lease_s=10, heartbeat_s=1, reconcile_s=0.5) as lab:
        workers = [worker["id"] for worker in lab.client.workers()]
        for worker in workers:
            lab.client.drain(worker)
        clients = {name: add_user(lab, name) for name in SHARES}
        submitted = submit_all(clients)
        make_older(lab.engine, submitted["old"], POLICY.age_s * 1.5)
        told = [item["run_id"] for item in lab.client.get("queue")["items"]]
        for worker in workers:
            lab.client.drain(worker, False)
        wait_until_all_ended(lab, told)
        started = starts(lab.engine)
        for client in clients.values():
            client.close()

    order = [run for run, *_ in started]
    assert sorted(order) == sorted(told)  # each started once
    # By hand: the high band first, then the run whose age is more than any fair share; the low band last.
    assert order[0] == told[0] == submitted["high"]
    assert order[1] == told[1] == submitted["old"]
    assert order[-1] == told[-1] == submitted["low"]
    # While all three want more, ann with two shares of four gets every other start, and nobody waits for the others' last.
    contested = Counter(submitted["owner"][run] for run in order[2:10])
    assert 3 <= contested["ann"] <= 5, order
    assert min(contested["bob"], contested["cat"]) >= 1, order
    # A user's own runs start as they were submitted, which is how the queue told them.
    for name in SHARES:
        mine = [run for run in order[2:-1] if submitted["owner"][run] == name]
        assert mine == [run for run in told[2:-1] if submitted["owner"][run] == name]
    # And every single start is the one that the policy names, from what had been used at that moment.
    for place in range(2, len(order) - 1):
        assert submitted["owner"][order[place]] in turns(started, place, submitted["owner"]), (place, started)


def add_user(lab, name):
    lab.client.add_user(name)
    lab.client.change_user(name, {"shares": SHARES[name]})
    return Client(lab.stack.url, lab.client.create_token("test", "all", user=name)["secret"], timeout_s=15)


def submit_all(clients):
    """Ids: of "low", "old" and "high"; and "owner" by id. The least urgent are submitted first."""
    made = {"owner": {}}

    def submit(name, seed, **request):
        run = clients[name].submit(config(seed), f"{name}-{seed}", **request)["id"]
        made["owner"][run] = name
        return run

    made["low"] = submit("cat", 100, priority="low")
    made["old"] = submit("cat", 101)
    for name, count in EACH.items():
        for seed in range(count):
            submit(name, seed)
    made["high"] = submit("bob", 102, priority="high")
    return made


def config(seed):
    return {
        "kind": "train",
        "name": f"{seed} at 10 steps/s",
        "seed": seed,
        "task": {"kind": "sudoku", "size": 4, "train_puzzles": 8, "test_puzzles": 4},
        "model": {"width": 8, "heads": 1, "layers": 1, "latent_steps": 1, "cycles": 1},
        "training": {"steps": 5, "batch_size": 4, "warmup_steps": 1},
    }


def make_older(engine, run, seconds):
    with write(engine) as connection:
        earlier = runs.c.created_at - seconds
        connection.execute(sa.update(runs).where(runs.c.id == run).values(created_at=earlier))


def wait_until_all_ended(lab, ids):
    deadline = time.monotonic() + 300
    while not all(get_run(lab.engine, run).state in FINAL for run in ids):
        assert time.monotonic() < deadline, [get_run(lab.engine, run) for run in ids]
        lab.tend()
        time.sleep(0.2)


def starts(engine):
    """(run, start, end) of every attempt, in the order in which they started."""
    query = sa.select(runs.c.id, attempts.c.started_at, attempts.c.ended_at)
    query = query.join(runs, runs.c.number == attempts.c.run).order_by(attempts.c.started_at)
    with read(engine) as connection:
        return [tuple(row) for row in connection.execute(query)]


def turns(started, place, owner):
    """Whose turn the policy says it was: one user, or several where an attempt ended just then or priorities are as good as
    equal."""
    now = started[place][1]
    waiting = {
        owner[run] for run, *_ in started[place:-1]
    }  # all of the normal band but the last, which is of the low one
    found = set()
    for seen in (now, now - SETTLING_S):
        usage, running = Counter(), Counter()
        for run, start, end in started[:place]:
            has_ended = end is not None and end <= seen
            usage[owner[run]] += POLICY.accrued(start, end if has_ended else None, now)
            running[owner[run]] += not has_ended
        accounts = {name: Account(SHARES[name], usage[name], running[name]) for name in SHARES}
        shares = fair_shares(POLICY, accounts, waiting | {"cat"})  # cat's low run waits to the end
        best = max(shares[name][1] for name in waiting)
        found |= {name for name in waiting if shares[name][1] > best - 1e-4}
    return found
