"""What the tables in store.tables are made of: types that mean the same on SQLite and PostgreSQL, and names."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey

from store.dialect import pack_json, unpack_json

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = sa.MetaData(naming_convention=NAMES)


class Json(sa.types.TypeDecorator[Any]):
    """JSON as text, so that NaN and Inf in results survive (PostgreSQL's own JSON types refuse them)."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:
        return None if value is None else json.dumps(value, separators=(",", ":"))

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        return None if value is None else json.loads(value)


class PackedText(sa.types.TypeDecorator[str]):
    """Text of JSON without NaN and Inf that conditions look into: on SQLite it is kept in its binary form, in which a value is
    found without reading all before it."""

    impl = sa.Text
    cache_ok = True

    def bind_expression(self, bindparam: sa.BindParameter[Any]) -> sa.ColumnElement[Any]:
        return pack_json(bindparam, type_=self)

    def column_expression(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return unpack_json(column, type_=self)


class PackedJson(PackedText, Json):
    """What such a text says."""

    cache_ok = True


# SQLite numbers rows by itself only in a column declared INTEGER; 8 bytes either way.
Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Time = sa.Double


def run_column(**options: Any) -> Column[int]:
    """The number of the run that a row belongs to and goes with."""
    return Column("run", Number, ForeignKey("runs.number", ondelete="CASCADE"), nullable=False, **options)
