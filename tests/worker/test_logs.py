"""What a worker writes on stderr: one JSON object a line, with the run it is about, and no secret."""

from __future__ import annotations

import json
import logging

import structlog

from worker import logs


def test_lines_are_json_with_the_run_and_without_secrets(capsys):
    before = logging.root.handlers[:], logging.root.level
    try:
        logs.configure()
        log = structlog.stdlib.get_logger("worker.test")
        with structlog.contextvars.bound_contextvars(run="r_1", epoch=3):
            log.warning("a\nb\x1b[31m", url="redis://user:abc@host/0", token="abc", headers={"Authorization": "abc"})
            try:
                raise ValueError("postgresql://laser:abc@host/x\x1b[2J")
            except ValueError:
                log.exception("failed")
        logging.getLogger("celery.worker").warning("Connected to %s", "amqp://guest:abc@host//")
    finally:
        logging.root.handlers[:], logging.root.level = before
        structlog.reset_defaults()
    text = capsys.readouterr().err
    first, second, third = map(json.loads, text.splitlines())
    assert (first["run"], first["epoch"], first["event"]) == ("r_1", 3, "a b")
    assert "ValueError" in second["exception"]
    assert "amqp://***@host//" in third["event"]
    assert "abc" not in text
    assert "\x1b" not in second["exception"]
