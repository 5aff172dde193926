"""What no log line may hold, whichever room writes it: secrets, and characters that forge lines or steer a terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

from store.text import clean, clean_lines

LINE_CHARACTERS = 4000
_SECRET_NAMES = re.compile(r"authorization|cookie|password|secret|token|^code$", re.IGNORECASE)
_SECRETS = re.compile(r"(\b(?:code|token|state)=|\bBearer\s+|laser_session=)[^\s&;\"']+", re.IGNORECASE)
_CREDENTIALS = re.compile(r"(\w+://)[^/\s@]*@")


def redact(value: Any, name: str = "") -> Any:
    """The value without secrets: whole ones by their name, parts of text by their form."""
    if name and _SECRET_NAMES.search(name):
        return "[redacted]"
    if isinstance(value, str):
        return _CREDENTIALS.sub(r"\1***@", _SECRETS.sub(r"\1[redacted]", value))
    if isinstance(value, Mapping):
        return {key: redact(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    return value


def safe(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor, the last before the renderer."""
    for name, value in event.items():
        safely = redact(value, name)
        if isinstance(safely, str):
            safely = clean_lines(safely) if name == "exception" else clean(safely, LINE_CHARACTERS)
        event[name] = safely
    return event
