"""What a filter can ask of a run, and how the databases are asked it.

A condition is true or false of every run, never NULL: so a negation means what it says. ``metric.`` reads the newest
values, ``config.`` the configuration as it was submitted.
"""

from __future__ import annotations

import datetime
import difflib
import functools
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import sqlalchemy as sa

from laser_core.config import RunConfig, StoreKind
from laser_core.schema import JsonSchema, json_schema
from store.database import read
from store.dialect import json_number, json_text
from store.filters import All, AnyOf, Node, Not, Op, Term, Word, parse, wrong
from store.policy import BANDS
from store.runs import owned
from store.states import State
from store.tables import experiment_runs, experiments, run_tags, runs, series, users
from store.users import Owners

Kind = Literal["choice", "text", "number", "duration", "time"]
Condition = sa.ColumnElement[bool]

_ORDERS: tuple[Op, ...] = ("=", "<", "<=", ">", ">=")
OPERATORS: dict[Kind, tuple[Op, ...]] = {
    "choice": ("=",),
    "text": ("=", "~"),
    "number": _ORDERS,
    "duration": _ORDERS,
    "time": _ORDERS,
}
KNOWN_RUNS = 1000  # whose tags and metrics are offered
RUN_KINDS = ("train", "eval", "analysis", "inspect")


@dataclass(frozen=True)
class Field:
    """A name that a filter may compare. ``values`` are all there are of a choice, examples for other kinds."""

    name: str
    kind: Kind
    help: str
    values: tuple[str, ...] = ()


FIELDS = (
    Field("state", "choice", "What it is doing.", tuple(State)),
    Field("kind", "choice", "What it does.", RUN_KINDS),
    Field("store", "choice", "Activation store of a training run.", get_args(StoreKind)),
    Field("priority", "choice", "Its band in the queue.", tuple(BANDS)),
    Field("name", "text", "What people read in lists."),
    Field("id", "text", "Such as r_mzxw6ytboi4a."),
    Field("tag", "text", "One of its tags."),
    Field("owner", "text", "Whose it is, by name or id.", ("me",)),
    Field("experiment", "text", "The experiment it belongs to, by name or id."),
    Field("worker", "text", "Who trains or trained it."),
    Field("pool", "text", "The label that its worker must have."),
    Field("note", "text", "What people wrote on it."),
    Field("reason", "text", "Why it is in its state."),
    Field("number", "number", "The number behind #."),
    Field("seed", "number", "Seed of weights, batches and rounding."),
    Field("step", "number", "Training steps done."),
    Field("steps", "number", "Training steps in all."),
    Field("attempt", "number", "How often a worker took it."),
    Field("step_time", "duration", "Of one training step, newest.", ("20ms", "1.5s")),
    Field("took", "duration", "From its first start to its end.", ("10min", "2h")),
    Field("created", "time", "When it was submitted.", ("-1d", "-7d", "2026-11-01")),
    Field("started", "time", "When it was first started.", ("-1h", "2026-11-01T12:30")),
    Field("finished", "time", "When it ended.", ("-1d", "2026-11-01")),
    Field("updated", "time", "When anything about it changed.", ("-10min", "-1h")),
)
_BY_NAME = {field.name: field for field in FIELDS}
_COLUMNS: dict[str, sa.ColumnElement[Any]] = {
    "store": runs.c.store_kind,
    "worker": runs.c.worker_id,
    "attempt": runs.c.epoch,
    "step_time": runs.c.step_time_s,
    "took": runs.c.finished_at - runs.c.started_at,
    **{name: runs.c[f"{name}_at"] for name in ("created", "started", "finished", "updated")},
    **{name: runs.c[name] for name in _BY_NAME if name in runs.c},
}


@dataclass(frozen=True)
class Known:
    """What a filter box offers."""

    fields: tuple[Field, ...]
    operators: dict[Kind, tuple[Op, ...]]  # beside ":" for "=", and "!" before "=" and "~"
    tags: list[str]
    metrics: list[str]


def condition(text: str, me: str, now: float) -> Condition | None:
    """What ``text`` asks of the rows of ``runs``; None where it asks nothing.

    ``me`` is the id of the user whom ``owner:me`` means. Raises Refused with the column of what can't be understood.
    """
    node = parse(text)
    return None if node is None else _compiled(node, me, now)


def _tags_in_use() -> sa.CTE:
    """Each tag once, from one to the next through the index: far fewer steps than there are tagged runs."""
    walk = sa.select(sa.func.min(run_tags.c.tag).label("tag")).cte("tags_in_use", recursive=True)
    following = sa.select(sa.func.min(run_tags.c.tag)).where(run_tags.c.tag > walk.c.tag).scalar_subquery()
    return walk.union_all(sa.select(following).where(walk.c.tag.is_not(None)))


_TAGS_IN_USE = _tags_in_use()  # one for all words of a query: two of one name would be refused


def matches_text(text: str) -> Condition:
    """In the name, the id or a tag."""
    tags = sa.select(_TAGS_IN_USE.c.tag).where(_TAGS_IN_USE.c.tag.icontains(text, autoescape=True))
    has_id = sa.select(runs.c.number).where(runs.c.id == text.lower())  # apart, so that an index can hold the rest
    in_name = runs.c.name.icontains(text, autoescape=True)
    return sa.or_(in_name, runs.c.number.in_(has_id), among(run_tags.c.run, run_tags.c.tag.in_(tags)))


def among(run: sa.Column[int], holds: Condition) -> Condition:
    """Runs that another table names in its column ``run`` where ``holds``.

    The sum keeps SQLite from looking for every number of the list in an index of runs: with two such conditions it looks for
    every pair, which takes minutes.
    """
    return (runs.c.number + 0).in_(sa.select(run).where(holds))


def single_value(name: str) -> sa.ColumnElement[Any] | None:
    """The column of a field that every run has one value of, or none; None for another name."""
    if name.startswith("config.") and name in config_fields():
        return _config_column(name, config_fields()[name].kind)
    return runs.c.band if name == "priority" else _COLUMNS.get(name)


def known(engine: sa.Engine, owners: Owners) -> Known:
    """Every field, with the configuration's, and the tags and metrics of the newest runs of ``owners``."""
    newest = sa.select(runs.c.number).where(owned(owners)).order_by(runs.c.number.desc()).limit(KNOWN_RUNS)
    with read(engine) as connection:
        numbers = connection.execute(newest).scalars().all()
        tags = sa.select(run_tags.c.tag).where(run_tags.c.run.in_(numbers)).distinct()
        metrics = sa.select(series.c.key).where(series.c.run.in_(numbers)).distinct()
        names = [sorted(connection.execute(query).scalars()) for query in (tags, metrics)]
    return Known((*FIELDS, *config_fields().values()), OPERATORS, *names)


@functools.cache
def config_fields() -> dict[str, Field]:
    """Every single value of a configuration, of whatever kind, by its name such as ``config.training.steps``."""
    union, definitions = json_schema(RunConfig, "")
    found: dict[str, Field] = {}
    for field in _config_fields(union, definitions, "config"):
        values = dict.fromkeys((*(found[field.name].values if field.name in found else ()), *field.values))
        found[field.name] = Field(field.name, field.kind, field.help, tuple(values))
    return found


def _config_fields(schema: JsonSchema, definitions: dict[str, JsonSchema], name: str) -> Iterator[Field]:
    """A field once for every kind of object that has it."""
    for option in (*schema.get("oneOf", ()), *schema.get("anyOf", ())):
        yield from _config_fields(option, definitions, name)
    if "$ref" in schema:
        yield from _config_fields(definitions[schema["$ref"]], definitions, name)
    for part, inner in schema.get("properties", {}).items():
        yield from _config_fields(inner, definitions, f"{name}.{part}")
    scalar = schema.get("type")
    if scalar in ("integer", "number", "boolean", "string"):
        values = ("true", "false") if scalar == "boolean" else schema.get("enum", [schema.get("const")])
        shown = tuple(str(value) for value in values if value is not None)
        kind: Kind = "number" if scalar in ("integer", "number") else "text"
        yield Field(name, kind, schema.get("description", ""), shown)


# --- from the tree to SQL ----------------------------------------------------------------------------------------------


def _compiled(node: Node, me: str, now: float) -> Condition:
    match node:
        case Word(text):
            return matches_text(_plain(text))
        case Not(part):
            return sa.not_(_compiled(part, me, now))
        case All(parts):
            return sa.and_(*(_compiled(part, me, now) for part in parts))
        case AnyOf(parts):
            return sa.or_(*(_compiled(part, me, now) for part in parts))
        case Term():
            return _term(node, me, now)


def _term(term: Term, me: str, now: float) -> Condition:
    if term.field.startswith("metric."):
        key = term.field.removeprefix("metric.")
        keys = [key] if "." in key else [key, f"test.{key}"]
        holds = sa.true() if term.op == "*" else _number(series.c.value, term, _as_number)
        return among(series.c.run, sa.and_(series.c.key.in_(keys), holds))
    field = _field(term)
    if term.op not in (*OPERATORS[field.kind], "*"):
        raise wrong(
            term.at + len(term.field), f"one of {' '.join(OPERATORS[field.kind])} after a {field.kind}", repr(term.op)
        )
    if term.field == "tag":
        return among(run_tags.c.run, _text(run_tags.c.tag, term))
    if term.field == "owner":
        return _owner(term, me)
    if term.field == "experiment":
        return _experiment(term)
    column = single_value(term.field)
    assert column is not None, term.field
    if field.kind == "choice":
        chosen = _choices(term, field) or list(field.values)  # "*": any of them
        return column.in_([BANDS[name] for name in chosen] if term.field == "priority" else chosen)  # type: ignore[index]
    if field.kind == "text":
        return _text(column, term)
    if field.kind == "time":
        return _time(column, term, now)
    return _number(column, term, _as_number if field.kind == "number" else _as_duration)


def _field(term: Term) -> Field:
    field = _BY_NAME.get(term.field) or config_fields().get(term.field)
    if field is None:
        near = difflib.get_close_matches(term.field, [*_BY_NAME, *config_fields()], n=1)
        meant = f"; did you mean {near[0]}?" if near else "; a text with : or = in it goes in quotes"
        names = f"{', '.join(_BY_NAME)}, metric.NAME or config.FIELD"
        raise wrong(term.at, f"a field, one of {names}", f"{term.field[:60]!r}{meant}")
    return field


def _owner(term: Term, me: str) -> Condition:
    if term.op != "=":
        return runs.c.owner_id.in_(sa.select(users.c.id).where(_text(users.c.name, term)))
    names = [_plain(value) for value in term.values]
    ids = [me if name == "me" else name for name in names]
    return sa.or_(runs.c.owner_id.in_(ids), runs.c.owner_id.in_(sa.select(users.c.id).where(users.c.name.in_(names))))


def _experiment(term: Term) -> Condition:
    named = sa.or_(_text(experiments.c.name, term), _text(experiments.c.id, term))
    numbers = sa.select(experiments.c.number).where(named)
    return among(experiment_runs.c.run, experiment_runs.c.experiment.in_(numbers))


def _config_column(name: str, kind: Kind) -> sa.ColumnElement[Any]:
    path = tuple(name.split(".")[1:])
    if path in (("kind",), ("seed",), ("store", "kind")):  # a column holds the same, and an index it
        return runs.c.store_kind if path == ("store", "kind") else runs.c[path[0]]
    return json_number(runs.c.config, path) if kind == "number" else json_text(runs.c.config, path)


# --- comparisons -------------------------------------------------------------------------------------------------------


def _choices(term: Term, field: Field) -> list[str]:
    for value in term.values:
        if value not in field.values:
            raise wrong(term.value_at, f"one of {', '.join(field.values)}", repr(value[:40]))
    return list(term.values)


def _text(column: sa.ColumnElement[Any], term: Term) -> Condition:
    values = [_plain(value) for value in term.values]
    if term.op == "=":
        return _never_null(column, column.in_(values))
    if term.op == "*":
        return _never_null(column, column != "")
    return _never_null(column, sa.or_(*(column.icontains(value, autoescape=True) for value in values)))


def _number(column: sa.ColumnElement[Any], term: Term, as_number: Callable[[Term, str], float]) -> Condition:
    if term.op == "*":
        return column.is_not(None)
    numbers = [as_number(term, value) for value in term.values]
    # Bound as what they are: as the column's own type a fraction would be cut to it, and a large number not fit.
    values = [sa.literal(n, sa.BigInteger() if isinstance(n, int) else sa.Double()) for n in numbers]
    return _never_null(column, column.in_(values) if term.op == "=" else _ordered(column, term.op, values[0]))


def _time(column: sa.ColumnElement[Any], term: Term, now: float) -> Condition:
    """A day, minute or second is a span: ``=`` is within it, ``>`` after its end, ``>=`` from its start on."""
    if term.op == "*":
        return column.is_not(None)
    spans = [_as_span(term, value, now) for value in term.values]
    if term.op == "=":
        return _never_null(column, sa.or_(*(sa.and_(column >= start, column < end) for start, end in spans)))
    start, end = spans[0]
    order: dict[Op, Condition] = {"<": column < start, "<=": column < end, ">": column >= end, ">=": column >= start}
    return _never_null(column, order[term.op])


def _ordered(column: sa.ColumnElement[Any], op: Op, value: Any) -> Condition:
    order: dict[Op, Condition] = {
        "<": column < value,
        "<=": column <= value,
        ">": column > value,
        ">=": column >= value,
    }
    return order[op]


def _never_null(column: sa.ColumnElement[Any], holds: Condition) -> Condition:
    if isinstance(column, sa.Column):
        return sa.and_(column.is_not(None), holds) if column.nullable else holds
    return sa.func.coalesce(holds, sa.false())  # what must be computed is so once


# --- values ------------------------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(%?)")
_DURATION = re.compile(r"(\d+\.?\d*|\.\d+)(us|ms|s|min|h|d)?")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d)?)?")


def _as_number(term: Term, value: str) -> float:
    found = _NUMBER.fullmatch(value)
    number = float(found[1]) / (100 if found[2] else 1) if found else math.nan
    if not math.isfinite(number):
        raise wrong(term.value_at, "a number such as 0.9, 90% or 1e-3", repr(value[:40]))
    return int(number) if number.is_integer() and abs(number) < 2**53 else number  # an int keeps an int column's index


def _as_duration(term: Term, value: str) -> float:
    found = _DURATION.fullmatch(value)
    if found is None:
        raise wrong(term.value_at, "a duration such as 20ms, 1.5s, 10min, 2h or 3d", repr(value[:40]))
    return float(found[1]) * _SECONDS[found[2] or "s"]


def _as_span(term: Term, value: str, now: float) -> tuple[float, float]:
    """(start, end) in seconds since 1970; how long ago, such as -7d, is a moment, and no two are equal."""
    if value.startswith("-") and _DURATION.fullmatch(value[1:]) and term.op != "=":
        moment = now - _as_duration(term, value[1:])
        return moment, moment
    found = _TIME.fullmatch(value)
    try:
        if found:
            start = datetime.datetime.fromisoformat(value).replace(tzinfo=datetime.UTC).timestamp()
            return start, start + (1 if found[3] else 60 if found[2] else 86_400)
    except ValueError:  # such as February 30
        pass
    ago = "" if term.op == "=" else ", or how long ago, such as -7d or -12h"
    raise wrong(term.value_at, f"a time in UTC such as 2026-11-01 or 2026-11-01T12:30{ago}", repr(value[:40]))


def _plain(text: str) -> str:
    return text.replace("\0", "")  # PostgreSQL refuses NUL in any text
