"""How long a worker waits between two tries to reach its broker."""

from __future__ import annotations

import kombu.utils.functional
import pytest
from kombu.exceptions import OperationalError

from worker import app


def test_the_delay_stays_short_however_long_the_broker_is_away(monkeypatch):
    monkeypatch.setattr(kombu.utils.functional, "sleep", lambda _: None)
    delays = []
    connection = app.app.connection_for_read("redis://127.0.0.1:1/0")  # nobody listens there
    with pytest.raises(OperationalError, match="refused"), connection.clone() as again:
        again.ensure_connection(lambda error, delay: delays.append(delay), 20)  # as Celery's consumer calls it
    assert len(delays) == 20
    assert max(delays) == app.RECONNECT_S
