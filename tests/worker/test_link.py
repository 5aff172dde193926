"""What a supervisor takes for a database that is away."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa

from store import database
from worker.link import Away, Link


@pytest.mark.parametrize("database_url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
def test_whoever_was_stopped_in_a_transaction_tries_again(database_url, monkeypatch):
    """The server has ended its transaction: that is no fault of the run."""
    quick = database.CUT_OFF["options"].replace(str(database.SILENT_MS), "300")
    monkeypatch.setitem(database.CUT_OFF, "options", quick)
    engine, link = database.connect(database_url), Link()

    def stopped():
        with database.write(engine) as connection:
            connection.execute(sa.text("SELECT 1"))
            time.sleep(1)
            connection.execute(sa.text("SELECT 1"))

    with pytest.raises(Away):
        link.call(stopped)
    assert not link.is_due
    with database.read(engine) as connection:
        assert connection.execute(sa.text("SELECT 1")).scalar() == 1
    engine.dispose()
