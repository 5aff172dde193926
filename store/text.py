"""Text from outside made safe to keep and to show."""

from __future__ import annotations

import re

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_CREDENTIALS = re.compile(r"(\w+://)[^/\s@:]*:[^/\s@]*@")


def clean(text: str, limit: int) -> str:
    """One line's or name's worth of text: no ANSI sequences, control or direction-changing characters (they forge log
    lines and PostgreSQL refuses NUL), no passwords in URLs, at most ``limit`` characters."""
    text = clean_lines(text[: 4 * limit].replace("\n", " ").rstrip())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def clean_lines(text: str) -> str:
    """The same for text of several lines, at full length."""
    if text.isprintable() and "://" not in text:  # nearly always, and there are very many
        return text
    return _CREDENTIALS.sub(r"\1***@", _CONTROL.sub("", _ANSI.sub("", text)))
