"""A random life of runs and workers, checked against a model: one live epoch, nothing lost or doubled, endings final."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import sqlalchemy as sa
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test

from laser_core.config import TrainConfig
from laser_core.events import CheckpointSaved, Metrics
from store import access, claims, database, events, metrics
from store.accounts import read_accounts
from store.errors import Conflict, NotFound, Superseded
from store.ingest import ingest, spool_offset
from store.pause import request_pause, resume
from store.run_list import RunQuery, list_runs
from store.runs import delete_run, get_run, request_cancel
from store.settings import Settings
from store.states import FINAL, LEASED, State
from store.submit import create_run
from store.tables import attempts as attempt_rows

LEASE_S = 20.0
SHA = "0" * 64


@dataclass
class Attempt:
    """A worker's view: it may be fenced without knowing."""

    run_id: str
    epoch: int
    step: int
    offset: int = 0


@dataclass
class Expected:
    """What the database must say of a run."""

    epoch: int = 0
    steps: set[int] = field(default_factory=set)
    checkpoint: int = 0
    ending: State | None = None


class Life(RuleBasedStateMachine):
    """``emptied`` and ``settings`` are set by the test."""

    emptied: Callable[[], str]
    settings: Settings
    attempts = Bundle("attempts")
    run_ids = Bundle("run_ids")

    def __init__(self) -> None:
        super().__init__()
        self.engine = database.connect(type(self).emptied())
        self.owner = access.ensure_local_user(self.engine)[0].id
        self.now = 1e9
        self.runs: dict[str, Expected] = {}
        self.deleted: set[str] = set()

    def teardown(self) -> None:
        self.engine.dispose()

    @rule(target=run_ids, seed=st.integers(0, 3), key=st.sampled_from(["a", "b", None]))
    def submit(self, seed, key):
        try:
            run, created = create_run(self.engine, TrainConfig(seed=seed), self.owner, key, now=self.now)
        except Conflict:
            assert key is not None
            return multiple()
        assert created == (run.id not in self.runs)
        self.runs.setdefault(run.id, Expected())
        return run.id

    @rule(target=attempts, steps=st.integers(0, 3))
    def claim(self, steps):
        """Most attempts train a little at once, so that the next one has steps to repeat."""
        attempt = self.take()
        if attempt is None:
            return multiple()
        if steps:
            self.say(attempt, steps, saves=False, repeats=False)
        return attempt

    @rule(target=attempts, attempt=attempts, steps=st.integers(1, 3))
    def return_from_the_dead(self, attempt, steps):
        """A worker is cut off beyond its lease, another takes over, and then the first one speaks again."""
        self.pass_time(LEASE_S + 1)
        successor = self.take()
        self.say(attempt, steps, saves=True, repeats=False)
        if successor is None:
            return multiple()
        self.say(successor, steps, saves=False, repeats=True)
        return successor

    def take(self):
        claim = claims.claim_run(self.engine, "w", LEASE_S, settings=self.settings, now=self.now)
        if claim is None:
            assert claims.queued_count(self.engine) == 0
            return None
        expected = self.runs[claim.run_id]
        expected.epoch += 1
        assert (claim.epoch, expected.ending) == (expected.epoch, None)
        assert claim.checkpoint == (f"step-{expected.checkpoint}" if expected.checkpoint else None)
        return Attempt(claim.run_id, claim.epoch, expected.checkpoint)

    @rule(attempt=attempts)
    def beat(self, attempt):
        with self.fenced(attempt) as live:
            claims.mark_running(self.engine, attempt.run_id, attempt.epoch, now=self.now)
            orders = claims.heartbeat(self.engine, attempt.run_id, attempt.epoch, LEASE_S, now=self.now)
            assert live
            state = get_run(self.engine, attempt.run_id).state
            assert (orders.cancel, orders.pause) == (state == State.cancelling, state == State.pausing)

    @rule(attempt=attempts, steps=st.integers(1, 4), saves=st.booleans(), repeats=st.booleans())
    def train(self, attempt, steps, saves, repeats):
        self.say(attempt, steps, saves, repeats)

    def say(self, attempt, steps, saves, repeats):
        said = [Metrics(step, {"m": float(step)}) for step in range(attempt.step + 1, attempt.step + steps + 1)]
        last = attempt.step + steps
        if saves:
            said.append(CheckpointSaved(last, f"step-{last}", {"model.safetensors": SHA}, 1))
        with self.fenced(attempt) as live:
            for _ in range(1 + repeats):
                ingest(
                    self.engine, attempt.run_id, attempt.epoch, attempt.offset, attempt.offset + 10, said, now=self.now
                )
            assert live
            expected = self.runs[attempt.run_id]
            expected.steps |= set(range(attempt.step + 1, last + 1))
            expected.checkpoint = last if saves else expected.checkpoint
            attempt.step, attempt.offset = last, attempt.offset + 10
            assert spool_offset(self.engine, attempt.run_id, attempt.epoch) == attempt.offset

    @rule(attempt=attempts, state=st.sampled_from(sorted(FINAL)))
    def finish(self, attempt, state):
        try:
            with self.fenced(attempt) as live:
                before = get_run(self.engine, attempt.run_id).state
                claims.finish(self.engine, attempt.run_id, attempt.epoch, state, now=self.now)
                assert live or before == state  # said again
                self.runs[attempt.run_id].ending = state
        except Conflict:
            assert before in (State.starting, State.running, State.pausing)

    @rule(attempt=attempts)
    def release(self, attempt):
        with self.fenced(attempt) as live:
            claims.release(self.engine, attempt.run_id, attempt.epoch, "drained", now=self.now)
            assert live
            self.note_endings(State.cancelled)

    @rule(attempt=attempts)
    def lose(self, attempt):
        """Its training process was killed."""
        with self.fenced(attempt) as live:
            claims.lose(self.engine, attempt.run_id, attempt.epoch, "killed", 3, now=self.now)
            assert live
            self.note_endings(State.cancelled, State.failed)

    @rule(run_id=run_ids)
    def delete(self, run_id):
        try:
            delete_run(self.engine, run_id, now=self.now)
            assert self.runs.pop(run_id).ending
            self.deleted.add(run_id)
        except Conflict:
            assert self.runs[run_id].ending is None
        except NotFound:
            assert run_id in self.deleted

    @rule(run_id=run_ids)
    def cancel(self, run_id):
        if run_id in self.deleted:
            return
        try:
            request_cancel(self.engine, run_id, now=self.now)
            self.note_endings(State.cancelled)
        except Conflict:
            assert self.runs[run_id].ending in (State.succeeded, State.failed)

    @rule(run_id=run_ids, goes_on=st.booleans())
    def pause(self, run_id, goes_on):
        if run_id in self.deleted:
            return
        before = get_run(self.engine, run_id).state
        try:
            resume(self.engine, run_id, now=self.now) if goes_on else request_pause(self.engine, run_id, now=self.now)
        except Conflict:
            assert before in FINAL | {State.cancelling} or (goes_on and before == State.pausing)

    @rule(passed=st.sampled_from([1.0, LEASE_S + 1, 700.0]))
    def expire(self, passed):
        self.pass_time(passed)

    def pass_time(self, passed):
        self.now += passed
        lost = claims.expire_leases(self.engine, 3, now=self.now)
        assert claims.expire_leases(self.engine, 3, now=self.now) == []
        assert all(self.runs[run_id].ending is None for run_id in lost)
        self.note_endings(State.cancelled, State.failed)

    @invariant()
    def the_database_agrees(self):
        listed = list_runs(self.engine, RunQuery(limit=500), None).items
        assert {run.id for run in listed} == self.runs.keys()
        for run in listed:
            expected = self.runs[run.id]
            assert run.epoch == expected.epoch
            assert (run.state if run.state in FINAL else None) == expected.ending
            assert [step for _, step, _ in metrics.iter_points(self.engine, run.id)] == sorted(expected.steps)
            log = events.after(self.engine, run.id)
            assert [event.seq for event in log] == list(range(1, len(log) + 1))
            moves = [event.data for event in log if event.kind == "state"]
            assert [move["from"] for move in moves[1:]] == [move["state"] for move in moves[:-1]]
            assert moves[-1]["state"] == run.state
            assert (run.worker_id is not None) == (run.state in LEASED)
            assert self.live_epochs(run.number) == ([run.epoch] if run.state in LEASED else [])

    @invariant()
    def nobody_has_used_less_than_nothing(self):
        with database.read(self.engine) as connection:
            accounts = read_accounts(connection, self.settings.policy, self.now)
        assert all(account.usage >= 0 for account in accounts.values())
        assert sum(account.running for account in accounts.values()) == sum(
            get_run(self.engine, run_id).state in LEASED for run_id in self.runs
        )

    def live_epochs(self, number):
        query = sa.select(attempt_rows.c.epoch).where(attempt_rows.c.run == number, attempt_rows.c.ended_at.is_(None))
        with database.read(self.engine) as connection:
            return list(connection.execute(query).scalars())

    def note_endings(self, *possible):
        """Endings that the store chose, where they are among the possible ones."""
        for run_id, expected in self.runs.items():
            state = get_run(self.engine, run_id).state
            if expected.ending is None and state in FINAL:
                assert state in possible
                expected.ending = state

    def fenced(self, attempt):
        return _Fenced(self, attempt)


class _Fenced:
    """Around a write: a stale attempt must be Superseded, a live one must not."""

    def __init__(self, life: Life, attempt: Attempt) -> None:
        self.is_there = attempt.run_id not in life.deleted
        run = get_run(life.engine, attempt.run_id) if self.is_there else None
        self.live = run is not None and run.epoch == attempt.epoch and run.state in LEASED

    def __enter__(self) -> bool:
        return self.live

    def __exit__(self, kind, error, trace) -> bool:
        if kind is (Superseded if self.is_there else NotFound):
            assert not self.live
            return True
        return False


def test_a_random_life_keeps_every_promise(emptied, settings):
    """On both databases."""
    Life.emptied, Life.settings = staticmethod(emptied), settings
    few = hypothesis_settings(
        max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(Life, settings=few)
