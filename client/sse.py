"""Server-sent events, read line by line (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Message:
    """One event; ``id`` is empty when the server gave none, ``data`` is its JSON."""

    id: str
    event: str
    data: Any


def parse(lines: Iterable[str]) -> Iterator[Message]:
    """The events in ``lines`` (without line ends); comments and an unfinished last event are dropped."""
    fields: dict[str, str] = {}
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                yield Message(fields.get("id", ""), fields.get("event", "message"), json.loads("\n".join(data)))
            fields, data = {}, []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name:  # an empty name is a comment
            fields[name] = value
