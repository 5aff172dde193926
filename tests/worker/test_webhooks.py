"""Webhooks from what happens to what a receiver gets: real databases, real HTTP on loopback, which the setting allows."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from laser_core.config import parse_experiment
from store import claims, experiments, outbox, users, webhooks
from store.errors import Conflict, NotFound
from store.runs import request_cancel
from store.states import State
from store.tables import audit, deliveries, happenings
from worker import webhooks as sending
from worker.webhooks import Sender

EXAMPLE = Path(__file__).parents[2] / "docs" / "webhooks.md"


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps what it gets; ``answers`` are statuses in order, the last one for all that follow."""

    def __init__(self, *answers):
        self.got, self.answers, self.holds = [], list(answers or [204]), threading.Event()
        self.holds.set()
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/hook"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answers = self.server.answers
        status = answers.pop(0) if len(answers) > 1 else answers[0]
        self.server.got.append((dict(self.headers), body))
        self.server.holds.wait(20)
        self.send_response(status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver():
    """Starts receivers: ``receiver(500, 204)`` answers the first with 500."""
    started = []

    def receiver(*answers):
        started.append(Receiver(*answers))
        threading.Thread(target=started[-1].serve_forever, daemon=True).start()
        return started[-1]

    yield receiver
    for each in started:
        each.holds.set()
        each.shutdown()
        each.server_close()


@pytest.fixture
def sender(engine, settings):
    return Sender(engine, settings.model_copy(update={"webhook_hosts": "127.0.0.1", "webhook_retry_s": 0.05}))


@pytest.fixture
def hook(engine, owner):
    """Adds a webhook: ``hook(url, …)`` gives it and its secret."""
    return lambda url, **more: webhooks.add(engine, owner, url, allowed="*", **more)


@pytest.fixture
def end(engine, submit, settings):
    """A run that ended: ``end(State.failed, seed=2)`` gives its id."""

    def end(state=State.succeeded, **changes):
        run = submit(**changes)
        claims.claim_run(engine, "w1", 20, settings=settings)
        claims.mark_running(engine, run.id, 1)
        claims.finish(engine, run.id, 1, state, "because", {"values": {"loss": float("nan"), "accuracy": 0.5}})
        return run.id

    return end


def wait_for(port):
    for _ in range(400):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"nobody listens on {port}")


def newest(engine, owner, made):
    return webhooks.list_deliveries(engine, owner, made.id)[0]


def test_the_receiver_of_the_documentation_takes_what_is_sent(engine, owner, sender, hook, end):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (code,) = re.findall(r"```python\n(.*?)```", EXAMPLE.read_text(), re.S)
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    made, secret = hook(f"http://127.0.0.1:{port}/")
    given = {**os.environ, "SECRET": secret, "PORT": str(port)}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as program:
        try:
            wait_for(port)
            end()
            assert sender.round() == 1
            assert newest(engine, owner, made).answer == "HTTP 204"
            assert program.stdout.readline() == "run.succeeded\n"
            with engine.begin() as connection:  # another secret
                forged = "whsec_" + base64.b64encode(b"x" * 32).decode()
                connection.execute(sa.update(webhooks.webhooks).values(secret=forged))
            webhooks.send_test(engine, owner, made.id)
            sender.round()
            assert newest(engine, owner, made).answer == "HTTP 401"
        finally:
            program.kill()


def test_what_a_receiver_gets(engine, owner, sender, hook, end, receiver):
    there = receiver()
    made, secret = hook(there.url)
    run_id = end(State.failed, name="ä", tags=["nightly"])
    assert sender.round() == 1
    ((headers, body),) = there.got
    digest = hmac.digest(
        base64.b64decode(secret.removeprefix("whsec_")),
        f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body,
        hashlib.sha256,
    )
    assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 30
    told = json.loads(body)
    assert told["type"] == "run.failed"
    assert told["data"] | {"id": run_id, "name": "ä", "state": "failed", "reason": "because"} == told["data"]
    assert (told["data"]["values"], told["data"]["tags"]) == ({"loss": None, "accuracy": 0.5}, ["nightly"])
    found = newest(engine, owner, made)
    assert (found.id, found.attempts, found.answer, found.next_at) == (headers["webhook-id"], 1, "HTTP 204", None)
    assert sender.round() == 0


def test_it_is_sent_again_after_a_failure_under_the_same_id(engine, owner, sender, hook, end, receiver):
    there = receiver(500, 302, 204)
    made, _ = hook(there.url)
    end()
    answers = []
    while (not answers or newest(engine, owner, made).next_at) and len(there.got) < 9:
        if sender.round():
            answers.append(newest(engine, owner, made).answer)
        time.sleep(0.02)
    assert answers == ["HTTP 500", "HTTP 302; redirects aren't followed", "HTTP 204"]
    assert len({headers["webhook-id"] for headers, _ in there.got}) == 1
    assert webhooks.list_webhooks(engine, owner)[0].failures == 0


KILLED = """
import sys
from store import database
from store.settings import Settings
from worker.webhooks import Sender
Sender(database.connect(sys.argv[1]), Settings(home=sys.argv[2], webhook_hosts="127.0.0.1")).round()
"""


def test_a_killed_sender_leaves_it_to_another(engine, database_url, settings, owner, sender, hook, end, receiver):
    there = receiver()
    made, _ = hook(there.url)
    end()
    there.holds.clear()
    program = subprocess.Popen([sys.executable, "-c", KILLED, database_url, str(settings.home)])
    deadline = time.monotonic() + 60
    while not there.got and time.monotonic() < deadline:
        time.sleep(0.05)
    program.send_signal(signal.SIGKILL)
    program.wait()
    there.holds.set()
    assert sender.round() == 0  # it is still claimed
    due = outbox.claim(engine, now=time.time() + outbox.CLAIM_S + 1)
    asyncio.run(sender._send(due))
    first, second = there.got
    assert first[0]["webhook-id"] == second[0]["webhook-id"]
    found = newest(engine, owner, made)
    assert (found.attempts, found.answer, found.next_at) == (2, "HTTP 204", None)


def test_two_senders_send_it_once(engine, hook, end, receiver):
    hook(receiver().url)
    end()
    outbox.tell_of_runs(engine)
    claimed = []
    threads = [threading.Thread(target=lambda: claimed.extend(outbox.claim(engine))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]", socket.gethostname()])
def test_what_resolves_to_them_isnt_sent(engine, owner, settings, hook, receiver, host):
    there = receiver()
    made, _ = hook(f"http://{host}:{there.server_port}/")  # while it was allowed
    webhooks.send_test(engine, owner, made.id)
    Sender(engine, settings).round()
    assert there.got == []
    assert newest(engine, owner, made).answer.startswith("not sent: the address is internal")


def test_it_connects_to_the_address_that_was_checked(engine, owner, sender, hook, receiver, monkeypatch):
    """A name server could give a public address first and an internal one when asked again."""
    there, asked = receiver(), []
    real = socket.getaddrinfo

    def lookup(host, *more, **named):
        asked.append(host)
        return real("127.0.0.1" if host == "receiver.example" else host, *more, **named)

    made, _ = hook(f"http://receiver.example:{there.server_port}/")
    webhooks.send_test(engine, owner, made.id)
    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    sender.round()
    assert newest(engine, owner, made).answer == "HTTP 204"
    assert asked == ["receiver.example"]
    assert there.got[0][0]["Host"] == f"receiver.example:{there.server_port}"


def test_the_setting_names_hosts_and_networks(engine, owner, settings, hook, receiver):
    there = receiver()
    made, _ = hook(f"http://localhost:{there.server_port}/")
    for allowed, is_sent in (("10.0.0.0/8 lab", False), ("localhost", True), ("10.0.0.0/8 127.0.0.0/8 ::1", True)):
        webhooks.send_test(engine, owner, made.id)
        Sender(engine, settings.model_copy(update={"webhook_hosts": allowed})).round()
        assert (newest(engine, owner, made).delivered_at is not None) is is_sent, allowed


def test_a_silent_receiver_is_left_after_a_while(engine, owner, sender, hook, receiver, monkeypatch):
    monkeypatch.setattr(sending, "ANSWER_S", 0.3)
    there = receiver()
    there.holds.clear()
    made, _ = hook(there.url)
    webhooks.send_test(engine, owner, made.id)
    sender.round()
    assert newest(engine, owner, made).answer == "no answer within 0.3 s"
    gone, _ = hook("http://127.0.0.1:9/")
    webhooks.send_test(engine, owner, gone.id)
    sender.round()
    assert newest(engine, owner, gone).answer.startswith("not reached: ")


def test_it_waits_longer_each_time_and_gives_up(engine, owner, hook):
    made, _ = hook("http://127.0.0.1:9/")
    webhooks.send_test(engine, owner, made.id, now=0.0)
    now, waited = 0.0, []
    while due := outbox.claim(engine, now=now):
        outbox.settle(engine, due[0], "HTTP 500", is_delivered=False, now=now)
        following = newest(engine, owner, made).next_at
        if following is None:
            break
        waited.append(following - now)
        now = following
    assert waited == [10 * 4**n for n in range(outbox.MOST_ATTEMPTS - 1)]
    assert newest(engine, owner, made).attempts == outbox.MOST_ATTEMPTS


def test_it_is_disabled_after_many_failures_and_says_why(engine, owner, hook, end):
    made, _ = hook("http://127.0.0.1:9/")
    for count in range(outbox.MOST_FAILURES):
        assert webhooks.list_webhooks(engine, owner)[0].disabled_at is None, count
        end(seed=count)
        outbox.tell_of_runs(engine)
        (due,) = outbox.claim(engine)
        outbox.settle(engine, due, "HTTP 500", is_delivered=False, retry_s=1e9)
    (found,) = webhooks.list_webhooks(engine, owner)
    assert found.disabled_why == "20 attempts in a row failed; the last: HTTP 500"
    with engine.connect() as connection:
        assert "webhook.disable" in connection.execute(sa.select(audit.c.action)).scalars().all()
    with pytest.raises(Conflict, match="enable it first"):
        webhooks.send_test(engine, owner, made.id)
    end(seed=99)
    assert outbox.tell_of_runs(engine) == 0
    assert outbox.claim(engine, now=time.time() + 2e9) == []
    assert webhooks.enable(engine, owner, made.id).disabled_at is None
    assert (
        len(outbox.claim(engine, now=time.time() + 2e9)) == outbox.AT_ONCE_EACH
    )  # what waited goes on, little by little


def test_a_receiver_that_is_gone_is_left_at_once(engine, owner, sender, hook, receiver):
    made, _ = hook(receiver(410).url)
    webhooks.send_test(engine, owner, made.id)
    sender.round()
    assert "410" in webhooks.list_webhooks(engine, owner)[0].disabled_why


def test_only_what_was_asked_for_is_told_and_to_nobody_else(engine, owner, submit, hook, end):
    other = users.add(engine, "other", "member").id
    webhooks.add(engine, other, "https://example.org/")
    failed, _ = hook("http://127.0.0.1:9/", events=["run.failed"])
    nightly, _ = hook("http://127.0.0.1:9/", filter="tag:nightly")
    end(seed=1)
    end(State.failed, seed=2)
    end(seed=3, tags=["nightly"])
    request_cancel(engine, submit(seed=4, tags=["nightly"]).id)
    outbox.tell_of_runs(engine)
    events = {
        hook.id: [d.event for d in webhooks.list_deliveries(engine, owner, hook.id)] for hook in (failed, nightly)
    }
    assert events == {failed.id: ["run.failed"], nightly.id: ["run.cancelled", "run.succeeded"]}
    with engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(deliveries)).scalar_one() == 3
    with pytest.raises(NotFound):
        webhooks.list_deliveries(engine, other, failed.id)


def test_a_lost_worker_is_told_of(engine, owner, submit, hook, settings):
    made, _ = hook("http://127.0.0.1:9/")
    run = submit()
    claims.claim_run(engine, "w1", 20, settings=settings)
    claims.lose(engine, run.id, 1, "killed")
    outbox.tell_of_runs(engine)
    assert newest(engine, owner, made).event == "run.lost"


def test_nothing_is_noted_where_nobody_listens(engine, end):
    end()
    with engine.connect() as connection:
        assert connection.execute(sa.select(happenings)).all() == []


def test_an_experiment_is_told_of_once_with_its_verdict(engine, owner, hook, settings):
    asked = {"name": "e", "margin": 2, "seeds": 2, "variants": {"a": {}, "b": {"store": {"kind": "laser"}}}}
    before = experiments.create(engine, parse_experiment(asked), owner)[0]
    experiments.cancel(engine, before.id)
    outbox.tell_of_experiments(engine)  # nobody listens yet
    made, _ = hook("http://127.0.0.1:9/", events=["experiment.decided"])
    experiment = experiments.create(engine, parse_experiment(asked | {"name": "f"}), owner)[0]
    while claim := claims.claim_run(engine, "w", 20, settings=settings):
        assert outbox.tell_of_experiments(engine) == 0
        claims.mark_running(engine, claim.run_id, 1)
        claims.finish(
            engine, claim.run_id, 1, State.succeeded, result={"values": {"exact_accuracy": 0.5, "puzzles": 100}}
        )
    assert [outbox.tell_of_experiments(engine), outbox.tell_of_experiments(engine)] == [1, 0]
    (due,) = outbox.claim(engine)
    told = json.loads(due.body)
    assert (told["type"], told["data"]["id"], due.webhook) == ("experiment.decided", experiment.id, made.id)
    assert told["data"]["verdicts"][0]["variant"] == "b"
    assert told["data"]["sentence"]


def test_there_are_limits(engine, owner, hook):
    made = [hook("https://example.org/")[0] for _ in range(webhooks.MOST_WEBHOOKS)]
    with pytest.raises(Conflict, match="remove one first"):
        hook("https://example.org/")
    for _ in range(webhooks.MOST_TESTS):
        webhooks.send_test(engine, owner, made[0].id)
    with pytest.raises(Conflict, match="on their way"):
        webhooks.send_test(engine, owner, made[0].id)
    webhooks.delete(engine, owner, made[0].id)
    assert outbox.claim(engine) == []


def test_only_the_newest_deliveries_are_kept(engine, owner, hook, monkeypatch):
    monkeypatch.setattr(outbox, "KEPT", 3)
    made, _ = hook("https://example.org/")
    for _ in range(6):
        last = webhooks.send_test(engine, owner, made.id)
        (due,) = outbox.claim(engine)
        outbox.settle(engine, due, "HTTP 204", is_delivered=True)
    found = webhooks.list_deliveries(engine, owner, made.id)
    assert (len(found), found[0].id) == (3, last.id)
