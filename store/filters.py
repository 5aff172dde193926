"""The filter language of run lists: text to a tree and back. What fields there are, and their SQL: ``store.filter_fields``.

    filter  = all { "OR" all }
    all     = part { [ "AND" ] part }
    part    = ( "-" | "NOT" ) part | "(" filter ")" | field operator values | text
    values  = "*" | text { "," text }
    operator = ":" | "=" | "!=" | "<" | "<=" | ">" | ">=" | "~" | "!~"

``:`` is ``=``; ``a!=b`` is ``-a=b``. A text in double quotes may hold anything, with backslash before a quote or backslash.
The whole language for people: docs/filter.md.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Literal, NoReturn, cast

from laser_core.schema import Problem
from store.errors import Refused

MAX_LENGTH = 2000  # characters
MAX_DEPTH = 16  # of brackets and negations
MAX_TERMS = 64

Op = Literal["=", "<", "<=", ">", ">=", "~", "*"]  # "*": has any value

_BARE = re.compile(r'[^\s()",]+')
_WORD = re.compile(r'[^\s()",:=<>~!]+')
_FIELD = re.compile(r"[A-Za-z_][\w./-]*")
_OPERATOR = re.compile(r"!=|!~|<=|>=|[:=<>~]")
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_KEYWORDS = ("AND", "OR", "NOT")
_LISTS = (":", "=", "!=", "~", "!~")  # operators that take several values


@dataclass(frozen=True)
class Word:
    """In the name, the id or a tag."""

    text: str

    def __str__(self) -> str:
        plain = _WORD.fullmatch(self.text) and not self.text.startswith("-") and self.text not in _KEYWORDS
        return self.text if plain else _quoted(self.text)


@dataclass(frozen=True)
class Term:
    """``field op values``: any of the values; one for an order, none for "*". ``at`` and ``value_at`` are columns from 1."""

    field: str
    op: Op
    values: tuple[str, ...]
    at: int = dataclasses.field(default=0, compare=False)
    value_at: int = dataclasses.field(default=0, compare=False)

    def __str__(self) -> str:
        if self.op == "*":
            return f"{self.field}:*"
        # A leading = would be read as part of the operator.
        values = (v if _BARE.fullmatch(v) and v != "*" and v[0] != "=" else _quoted(v) for v in self.values)
        return f"{self.field}{self.op}{','.join(values)}"


@dataclass(frozen=True)
class Not:
    part: Node

    def __str__(self) -> str:
        return f"-{self.part}" if isinstance(self.part, Word | Term | Not) else f"-({self.part})"


@dataclass(frozen=True)
class All:
    parts: tuple[Node, ...]

    def __str__(self) -> str:
        return " ".join(f"({part})" if isinstance(part, All | AnyOf) else str(part) for part in self.parts)


@dataclass(frozen=True)
class AnyOf:
    parts: tuple[Node, ...]

    def __str__(self) -> str:
        return " OR ".join(f"({part})" if isinstance(part, AnyOf) else str(part) for part in self.parts)


Node = Word | Term | Not | All | AnyOf


def parse(text: str) -> Node | None:
    """The tree of a filter; None for an empty one. Raises Refused with the column at fault and what was expected there."""
    if len(text) > MAX_LENGTH:
        raise Refused(Problem("filter", f"expected at most {MAX_LENGTH} characters, got {len(text)}"))
    parser = _Parser(text)
    if parser.is_at_end():
        return None
    node = parser.any_of(0)
    if not parser.is_at_end():  # any_of stops at nothing else
        parser.refuse("a bracket that is open, or nothing")
    return node


def wrong(at: int, expected: str, got: str = "") -> Refused:
    """The error for column ``at``."""
    return Refused(Problem("filter", f"column {at}: expected {expected}" + (f", got {got}" if got else "")))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class _Parser:
    """Recursive descent; one method per rule of the grammar."""

    def __init__(self, text: str) -> None:
        self.text, self.place, self.terms = text, 0, 0

    def any_of(self, depth: int) -> Node:
        parts = [self.all(depth)]
        while self.take_keyword("OR"):
            parts.append(self.all(depth))
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def all(self, depth: int) -> Node:
        parts = [self.part(depth)]
        while self.take_keyword("AND") or not (self.is_at_end() or self.sees(")") or self.sees_keyword("OR")):
            parts.append(self.part(depth))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def part(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise wrong(self.place + 1, f"at most {MAX_DEPTH} brackets and negations inside each other")
        self.skip_blanks()
        if self.take_keyword("NOT") or self.take("-"):
            return Not(self.part(depth + 1))
        if self.take("("):
            node = self.any_of(depth + 1)
            if not self.take(")"):
                self.refuse("a closing bracket")
            return node
        return self.term()

    def term(self) -> Node:
        self.terms += 1
        if self.terms > MAX_TERMS:
            raise wrong(self.place + 1, f"at most {MAX_TERMS} conditions")
        at = self.place + 1
        if self.sees('"'):
            return Word(self.quoted())
        word = self.match(_WORD)
        if word is None or word in ("AND", "OR"):
            self.place = at - 1
            self.refuse("a condition such as state:running, or a word")
        operator = self.match(_OPERATOR)
        if operator is None:
            return Word(word)
        if not _FIELD.fullmatch(word):
            raise wrong(at, "the name of a field", repr(word[:40]))
        return self.compared(word, operator, at)

    def compared(self, name: str, operator: str, at: int) -> Node:
        value_at = self.place + 1
        is_any = operator in (":", "=", "!=") and not self.sees('"')
        values = [self.value()]
        while operator in _LISTS and self.take(","):
            values.append(self.value())
        if is_any and values == ["*"]:
            term = Term(name, "*", (), at, value_at)
        else:
            op = cast(Op, "=" if operator == ":" else operator.removeprefix("!"))
            term = Term(name, op, tuple(values), at, value_at)
        return Not(term) if operator.startswith("!") else term

    def value(self) -> str:
        if self.sees('"'):
            return self.quoted()
        found = self.match(_BARE)
        if found is None:
            self.refuse("a value right after it, in quotes if it holds blanks")
        return found

    def quoted(self) -> str:
        found = _QUOTED.match(self.text, self.place)
        if found is None:
            raise wrong(self.place + 1, 'a closing quote (write \\" for a quote and \\\\ for a backslash inside)')
        self.place = found.end()
        return re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL)

    # --- characters

    def is_at_end(self) -> bool:
        self.skip_blanks()
        return self.place == len(self.text)

    def skip_blanks(self) -> None:
        while self.text[self.place : self.place + 1].isspace():
            self.place += 1

    def sees(self, text: str) -> bool:
        return self.text.startswith(text, self.place)

    def take(self, text: str) -> bool:
        found = self.sees(text)
        self.place += len(text) * found
        return found

    def sees_keyword(self, keyword: str) -> bool:
        self.skip_blanks()
        found = _WORD.match(self.text, self.place)
        return found is not None and found[0] == keyword

    def take_keyword(self, keyword: str) -> bool:
        found = self.sees_keyword(keyword)
        self.place += len(keyword) * found
        return found

    def match(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self.text, self.place)
        if found is None:
            return None
        self.place = found.end()
        return found[0]

    def refuse(self, expected: str) -> NoReturn:
        got = repr(self.text[self.place]) if self.place < len(self.text) else "the end"
        raise wrong(self.place + 1, expected, got)
