"""Rows for every table of whatever schema a database has, and all that a database holds."""

from __future__ import annotations

import json

import sqlalchemy as sa

from store.columns import PackedText

# What the platform's own functions have to make sense of.
MEANT = {"config": '{"kind": "train"}', "data": '{"x": NaN}', "kind": "train", "state": "queued", "role": "admin"}
MEANT |= {
    "facts": "null",
    "result": '{"values": {"loss": NaN}}',
    "imported_from": '{"id": "r_aaaaaaaaaaaa", "at": 1.5}',
}


def tables(connection):
    metadata = sa.MetaData()
    metadata.reflect(connection)
    return [table for table in metadata.sorted_tables if table.name != "alembic_version"]


def fill(connection):
    """Two rows for every table; of the second, whatever may be NULL is."""
    for table in tables(connection):
        for number in (1, 2):
            values = {column.name: _value(column, number) for column in table.columns}
            connection.execute(sa.insert(table).values(values))


def contents(connection):
    """{table: [{column: value}]}, in the order of the primary key."""
    found = {}
    for table in tables(connection):
        if table.name == "runs":
            table.c.config.type = PackedText()
        rows = connection.execute(sa.select(table).order_by(*table.primary_key)).mappings()
        found[table.name] = [{name: _plain(name, value) for name, value in row.items()} for row in rows]
    return found


def _plain(name, value):
    """SQLite may keep a configuration as text or packed."""
    return json.loads(value) if name == "config" else value


def _value(column, number):
    if column.foreign_keys:
        (key,) = column.foreign_keys
        if key.column.table is column.table:
            number -= 1  # the row before
        return _value(key.column, number) if number else None
    if column.nullable and number == 2:
        return None
    if isinstance(column.type, sa.String):
        return MEANT.get(column.name, f"{column.name} {number}")[: column.type.length]
    if isinstance(column.type, sa.LargeBinary):
        return bytes([number, 0, 255])
    if isinstance(column.type, sa.Boolean):
        return True
    return number + 0.5 if isinstance(column.type, sa.Double | sa.Float) else number
