"""Every released schema, with rows in every table, comes to the newest one without losing a value."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from store import database, runs, users
from store.tables import metadata
from tests.store.filling import contents, fill


@pytest.fixture
def empty(engine):
    """The test's database without a table."""
    with database.write(engine) as connection:
        metadata.drop_all(connection)
        connection.exec_driver_sql("DROP TABLE alembic_version")
    return engine


@pytest.mark.parametrize("first", database.revisions())
def test_rows_of_every_schema_are_kept_to_the_newest(empty, first):
    database.migrate(empty, first)
    with database.write(empty) as connection:
        fill(connection)
        before = contents(connection)
    assert len(before) >= 14
    assert all(before.values())
    for revision in [r for r in database.revisions() if r > first]:
        database.migrate(empty, revision)
    with database.read(empty) as connection:
        after = contents(connection)
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    for table, rows in before.items():
        kept = [{name: row[name] for name in rows[0]} for row in after[table]]
        assert repr(kept) == repr(rows), table  # by repr, as NaN is no NaN's equal
    assert runs.get_run(empty, "id 1").config == {"kind": "train"}
    assert users.get(empty, "name 1").role == "admin"


def test_there_is_no_way_back_and_the_reason_is_told(engine):
    with pytest.raises(RuntimeError, match=r"newer than 0001.*restore a backup"):
        database.migrate(engine, "0001")
    assert database.version(engine) == database.head()
