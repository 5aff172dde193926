"""The filter language: the tree of a text, what is refused and where, and that both databases answer as plain Python does."""

from __future__ import annotations

import datetime
import math
import random
import re
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from laser_core.config import parse_run
from store import users
from store.errors import Refused
from store.filter_fields import FIELDS, OPERATORS, condition, config_fields, known
from store.filters import MAX_DEPTH, MAX_LENGTH, MAX_TERMS, All, AnyOf, Not, Term, Word, parse
from store.requests import Request
from store.run_list import RunQuery, list_runs
from store.runs import get_run
from store.submit import create_run
from store.tables import experiment_runs, experiments, runs, series

NOW = 1_793_000_000.0  # 2026-10-26
DAY_S = 86_400.0
GUIDE = Path(__file__).parents[2] / "docs" / "filter.md"


# --- text and tree -----------------------------------------------------------------------------------------------------


def test_a_text_becomes_a_tree():
    assert parse('state:running,queued -tag:bad (a OR NOT "b c")') == All(
        (
            Term("state", "=", ("running", "queued")),
            Not(Term("tag", "=", ("bad",))),
            AnyOf((Word("a"), Not(Word("b c")))),
        )
    )
    assert parse("a b OR c AND d") == AnyOf((All((Word("a"), Word("b"))), All((Word("c"), Word("d")))))
    assert parse('name!~"a\\"b"') == Not(Term("name", "~", ('a"b',)))
    assert parse('tag:* name="*" seed>-1') == All(
        (Term("tag", "*", ()), Term("name", "=", ("*",)), Term("seed", ">", ("-1",)))
    )
    assert parse("  ") is None


TEXTS = st.text(min_size=1, max_size=6, alphabet=st.characters(codec="utf-8", exclude_characters="\0"))
NAMES = st.from_regex(r"[A-Za-z_][\w./-]{0,8}", fullmatch=True).filter(lambda name: name not in ("AND", "OR", "NOT"))


def trees(leaves):
    def above(inner):
        several = st.lists(inner, min_size=2, max_size=3).map(tuple)
        return inner.map(Not) | several.map(All) | several.map(AnyOf)

    return st.recursive(leaves, above, max_leaves=8)


def terms(names, values):
    lists = st.builds(Term, names, st.sampled_from(["=", "~"]), st.lists(values, min_size=1, max_size=3).map(tuple))
    orders = st.builds(Term, names, st.sampled_from(["<", "<=", ">", ">="]), values.map(lambda value: (value,)))
    return lists | orders | st.builds(Term, names, st.just("*"), st.just(()))


@given(trees(TEXTS.map(Word) | terms(NAMES, TEXTS)))
def test_a_tree_printed_and_parsed_is_the_same(tree):
    assert parse(str(tree)) == tree


@given(st.text(alphabet=' ()":=!<>~,-*\\ab', max_size=30))
def test_any_text_is_parsed_or_refused_with_a_column_inside_it(text):
    try:
        tree = parse(text)
    except Refused as error:
        column = int(re.match(r"filter: column (\d+): expected ", str(error))[1])
        assert 1 <= column <= len(text) + 1
    else:
        assert tree is None or parse(str(tree)) == tree


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a OR", "column 5: expected a condition such as state:running, or a word, got the end"),
        ("(a", "column 3: expected a closing bracket, got the end"),
        ("a)", "column 2: expected a bracket that is open, or nothing, got ')'"),
        ("state: running", "column 7: expected a value right after it"),
        ('name~"a', "column 6: expected a closing quote"),
        ("seed>1,2", "column 7: expected a condition"),
        ("a state:walking", "column 9: expected one of queued, starting, running"),
        ("sate:running", "column 1: expected a field, .* did you mean state"),
        ("config.store.rnk=3", "did you mean config.store.rank?"),
        ("-name>a", "column 6: expected one of = ~ after a text, got '>'"),
        ("seed>many", "column 6: expected a number such as 0.9, 90% or 1e-3, got 'many'"),
        ("seed>1e999", "column 6: expected a number"),
        ("took>soon", "column 6: expected a duration such as 20ms"),
        ("created>2026-02-30", "column 9: expected a time in UTC"),
        ("created=-7d", "column 9: expected a time in UTC such as 2026-11-01 or 2026-11-01T12:30, got '-7d'"),
        ("-" * (MAX_DEPTH + 2) + "a", f"at most {MAX_DEPTH} brackets"),
        ("a " * (MAX_TERMS + 1), f"at most {MAX_TERMS} conditions"),
        ("a" * (MAX_LENGTH + 1), f"at most {MAX_LENGTH} characters, got {MAX_LENGTH + 1}"),
    ],
)
def test_what_cant_be_understood_is_refused_with_its_place(text, says):
    with pytest.raises(Refused) as caught:
        condition(text, "", NOW)
    message = str(caught.value)
    assert says in message or re.search(says, message), message


# --- against plain Python ----------------------------------------------------------------------------------------------

STORES = ["none", "laser", "laser-coded", "checkpoint"]
TAGS = ["ablation", "bad", "Bad", "6x6", "été"]


@pytest.fixture
def many(engine, owner):
    """Thirty runs of all sorts."""
    pick = random.Random(1)
    other = users.add(engine, "ada", "member").id
    for number in range(30):
        store = {"kind": pick.choice(STORES)}
        if store["kind"] == "laser":
            store |= {"rank": pick.choice([0, 4, 8]), "adapt": pick.choice([True, False])}
        config = {"kind": "train", "seed": pick.randrange(4), "store": store}
        config |= {"tags": pick.sample(TAGS, pick.randrange(3)), "name": pick.choice(["", "6x6 a", "A_b%", "étude"])}
        config |= {"training": {"steps": pick.choice([10, 500]), "learning_rate": pick.choice([1e-3, 2e-3])}}
        run, _ = create_run(
            engine, parse_run(config), pick.choice([owner, other]), request=Request(pick.choice(["high", "low"]))
        )
        created = NOW - pick.choice([0.5, 1, 2, 8]) * DAY_S
        started = created + 60 if pick.random() < 0.7 else None
        values = {
            "state": pick.choice(["queued", "running", "failed"]),
            "worker_id": None if started is None else pick.choice(["w1", "gpu-w2"]),
            "step": pick.randrange(3),
            "step_time_s": pick.choice([None, 0.02, 1.5]),
            "created_at": created,
            "started_at": started,
            "finished_at": started and pick.choice([None, started + 30, started + 7200]),
        }
        keys = pick.sample(["test.exact_accuracy", "train.loss", "exact_accuracy"], pick.randrange(3))
        rows = [{"run": number + 1, "key": key, "value": pick.choice([None, 0.25, 0.95])} for key in keys]
        with engine.begin() as connection:
            connection.execute(sa.update(runs).where(runs.c.id == run.id).values(values))
            if rows:
                numbers = {"points": 1, "step": 1, "tail_step": 1, "tail_points": 1}
                connection.execute(sa.insert(series), [row | numbers for row in rows])
    made = {"owner_id": owner, "config": {}, "planned": 1, "created_at": NOW}
    with engine.begin() as connection:
        for number, name in enumerate(("grid", "x_grid"), 1):
            connection.execute(sa.insert(experiments).values(number=number, id=f"e_{number}", name=name, **made))
        members = [{"run": n, "experiment": n % 2 + 1, "variant": "a", "point": ""} for n in range(3, 31, 3)]
        connection.execute(sa.insert(experiment_runs), members)
    with engine.connect() as connection:
        ids = connection.execute(sa.select(runs.c.id).order_by(runs.c.number)).scalars().all()
    return [get_run(engine, run_id) for run_id in ids]


def lowered(text):
    """As both databases do without a language: ASCII alone."""
    return "".join(c.lower() if c.isascii() else c for c in text)


def found(values, field):
    """The values of a run's field, as a list of none, one or several."""
    run, (first, _, rest) = values, field.partition(".")
    if first == "metric":
        keys = [rest] if "." in rest else [rest, f"test.{rest}"]
        return [run.latest[key] for key in keys if key in run.latest]
    if first == "config":
        value = run.config
        for part in rest.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return [] if value is None else [str(value).lower() if isinstance(value, bool) else value]
    whole = {
        "store": run.store_kind,
        "worker": run.worker_id,
        "step_time": run.step_time_s,
        "took": None if run.finished_at is None else run.finished_at - run.started_at,
        "created": run.created_at,
        "started": run.started_at,
        "finished": run.finished_at,
        "updated": run.updated_at,
    }
    if field == "tag":
        return list(run.tags)
    if field == "owner":
        return [run.owner_name]
    if field == "experiment":
        return [["grid", "x_grid"][run.number % 2]] if run.number % 3 == 0 else []
    value = whole[field] if field in whole else getattr(run, field)
    return [] if value is None else [value]


def holds(tree, run):
    match tree:
        case Word(text):
            return any(lowered(text) in lowered(t) for t in (run.name, *run.tags)) or run.id == lowered(text)
        case Not(part):
            return not holds(part, run)
        case All(parts):
            return all(holds(part, run) for part in parts)
        case AnyOf(parts):
            return any(holds(part, run) for part in parts)
    values = found(run, tree.field)
    if tree.op == "*":
        return any(value != "" for value in values)
    return any(compared(tree, value, wanted) for value in values for wanted in tree.values)


def compared(term, value, wanted):
    if term.op == "~":
        return lowered(wanted) in lowered(value)
    if isinstance(value, str):
        return value == ("local" if (term.field, wanted) == ("owner", "me") else wanted)
    if term.field in ("created", "started", "finished", "updated"):
        if wanted.startswith("-"):
            start = end = NOW - float(wanted[1:-1]) * DAY_S
        else:
            start = datetime.datetime.fromisoformat(wanted).replace(tzinfo=datetime.UTC).timestamp()
            end = start + (60 if "T" in wanted else DAY_S)
        return {
            "=": start <= value < end, "<": value < start, "<=": value < end, ">": value >= end, ">=": value >= start,
        }[term.op]  # fmt: skip
    seconds = {"ms": 1e-3, "min": 60, "h": 3600}
    number, unit = re.fullmatch(r"([-+.e\d]+)(\D*)", wanted).groups()
    wanted = float(number) * (seconds.get(unit, 1) if unit != "%" else 0.01)
    return not math.isnan(value) and {
        "=": value == wanted, "<": value < wanted, "<=": value <= wanted, ">": value > wanted, ">=": value >= wanted,
    }[term.op]  # fmt: skip


def possible_terms():
    """Of every field, with values that some runs have and some don't."""
    texts = st.sampled_from(["6x6", "a", "A_b%", "étude", "%", "_", "w", "w1", "bad", "nobody"])
    by_kind = {
        "text": texts,
        "number": st.sampled_from(["0", "1", "0.5", "2", "95%", "0.25", "500", "1e-3", "-1", "12345678901"]),
        "duration": st.sampled_from(["20ms", "1.5", "1min", "2h", "30"]),
        "time": st.sampled_from(["2026-10-25", "2026-10-24T12:00", "2026-10-20"]),
    }
    fields = [(field.name, field.kind, field.values) for field in FIELDS]
    fields += [(name, config_fields()[name].kind, config_fields()[name].values) for name in CONFIG]
    fields += [(f"metric.{key}", "number", ()) for key in ("exact_accuracy", "train.loss", "unknown")]
    choices = []
    for name, kind, known_values in fields:
        values = st.sampled_from(known_values) if kind == "choice" else by_kind[kind]
        if name in ("owner", "tag", "experiment") or name.startswith("config."):
            extra = {"owner": ("me", "ada"), "tag": tuple(TAGS), "experiment": ("grid",)}.get(name, known_values)
            values = values | st.sampled_from(extra) if extra and kind == "text" else values
        for op in OPERATORS[kind]:
            given = st.lists(values, min_size=1, max_size=2).map(tuple) if op in "=~" else values.map(lambda v: (v,))
            if kind == "time" and op != "=":
                given = given | st.sampled_from([("-1d",), ("-7d",)])
            choices.append(st.builds(Term, st.just(name), st.just(op), given))
        choices.append(st.just(Term(name, "*", ())))
    return st.one_of(choices)


CONFIG = (
    "config.store.kind", "config.store.rank", "config.store.adapt", "config.seed", "config.name",
    "config.training.steps", "config.training.learning_rate", "config.task.kind",
)  # fmt: skip
WORDS = st.sampled_from(["6x6", "ab", "A_b%", "é", "bad", "laser"]).map(Word)


def test_both_databases_answer_as_plain_python_does(engine, owner, many):
    @given(trees(possible_terms() | WORDS))
    def check(tree):
        with engine.connect() as connection:
            query = sa.select(runs.c.number).where(condition(str(tree), owner, NOW)).order_by(runs.c.number)
            got = connection.execute(query).scalars().all()
        assert got == [run.number for run in many if holds(tree, run)], str(tree)

    check()


def test_lists_are_filtered_within_what_the_speaker_sees(engine, owner, many):
    ada = users.get(engine, "ada").id
    mine = list_runs(engine, RunQuery(filter="owner:me", me=ada, limit=100), None)
    assert {run.owner for run in mine.items} == {ada}
    assert mine.total == len(mine.items) > 0
    assert list_runs(engine, RunQuery(filter=f"owner:{owner}", me=ada), frozenset({ada})).total == 0


@pytest.mark.parametrize("field", ["took", "step_time", "seed", "worker", "priority", *CONFIG])
@pytest.mark.parametrize("sign", ["", "-"])
def test_lists_are_sorted_page_by_page_by_any_single_value(engine, many, field, sign):
    shown, cursor = [], None
    while True:
        page = list_runs(engine, RunQuery(sort=sign + field, cursor=cursor, limit=7), None)
        shown, cursor = shown + page.items, page.next_cursor
        if cursor is None:
            break
    rank = {"high": 0, "low": 2}

    def value(run):
        (first,) = found(run, field)
        return (rank.get(first, first) if field == "priority" else first, run.number)

    valued = sorted((run for run in many if found(run, field)), key=value, reverse=sign == "-")
    rest = sorted((run for run in many if not found(run, field)), key=lambda run: -run.number)
    assert [run.number for run in shown] == [run.number for run in valued + rest]


def test_the_box_is_offered_what_the_speakers_runs_have(engine, owner, many):
    everything, nothing = known(engine, None), known(engine, frozenset({"u_nobody"}))
    assert everything.tags == sorted({tag for run in many for tag in run.tags})
    assert everything.metrics == sorted({key for run in many for key in run.latest})
    assert (nothing.tags, nothing.metrics) == ([], [])
    names = {field.name for field in everything.fields}
    assert {"state", "tag", "created", "config.training.steps", "config.store.energy"} <= names


# --- the guide ---------------------------------------------------------------------------------------------------------


def test_every_example_of_the_guide_runs_and_every_field_is_in_it(engine, owner):
    text = GUIDE.read_text(encoding="utf-8")
    examples = [line for block in re.findall(r"```filter\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    assert len(examples) > 15
    for example in examples:
        list_runs(engine, RunQuery(filter=example, me=owner), None)
    for field in FIELDS:
        assert f"`{field.name}`" in text, field.name
