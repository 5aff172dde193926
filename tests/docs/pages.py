"""What the documentation tells people to type, as the tests read it: blocks between fences, and `code` inside sentences."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
HISTORY = "docs/experiments.md"  # dated: it names what was run then, also what has gone since
SHELL = ("", "sh")

_FENCE = re.compile(r"^ *```(\w*)$")
_INLINE = re.compile(r"`((?:\.venv/bin/)?(?:laser|make|python) [^`]+)`")
_SUBSTITUTED = re.compile(r"\$\([^)]*\)")
_WRAPPER = re.compile(r"^sudo (-u \S+ )?(env \S+ )?")
_OPERATORS = {"|", "||", "&&", ";", "&"}


@dataclass(frozen=True)
class Block:
    """What stands between two fences; ``line`` is that of its first line in ``page``."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """One simple command: the variables that it sets, and its words. ``line`` is the whole line that it stands in."""

    where: str
    line: str
    variables: tuple[str, ...]
    words: tuple[str, ...]

    @property
    def program(self) -> str:
        """Its name without a path; empty where a line sets variables only."""
        return Path(self.words[0]).name if self.words else ""


def pages() -> list[str]:
    """Every page but generated ones, by its path from the root."""
    found = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    ]
    names = [str(path.relative_to(ROOT)) for path in found]
    return [name for name in names if name != HISTORY and not name.startswith("docs/reference/")]


def blocks(page: str, *languages: str) -> list[Block]:
    """The fenced blocks of ``page``, only those in one of ``languages`` if any are named."""
    found, started = [], None
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if not (fence := _FENCE.match(line)):
            continue
        if started is None:
            started = (number + 1, fence[1])
            continue
        first, language = started
        found.append(Block(page, first, language, "\n".join(lines[first - 1 : number - 1]) + "\n"))
        started = None
    assert started is None, f"{page}: a fence is left open"
    return [block for block in found if not languages or block.language in languages]


def shell_lines(page: str) -> Iterator[tuple[str, str]]:
    """(place, line) of everything to type in ``page``; a line that ends in \\ is joined with the next."""
    for block in blocks(page, *SHELL):
        for number, line in enumerate(block.text.replace("\\\n", "  ").splitlines(), block.line):
            if line.strip() and not line.startswith("#"):
                yield f"{page}:{number}", line


def service_lines(page: str) -> Iterator[tuple[str, str]]:
    """What the systemd units of ``page`` start."""
    for block in blocks(page, "ini"):
        for line in re.findall(r"(?m)^ExecStart=(.*)$", block.text):
            yield str(block), line


def commands(where: str, line: str) -> list[Command]:
    """The simple commands of a shell line; pipes and && part them."""
    plain = _WRAPPER.sub("", _SUBSTITUTED.sub("_", line.strip()))
    lexer = shlex.shlex(plain, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    for word in lexer:
        parts.append([]) if word in _OPERATORS else parts[-1].append(word)
    return [_command(where, line, words) for words in parts if words]


def inline(page: str) -> Iterator[Command]:
    """The commands named in sentences."""
    text = re.sub(r"(?ms)^ *```.*?^ *```$", lambda block: "\n" * block[0].count("\n"), (ROOT / page).read_text("utf-8"))
    for number, line in enumerate(text.splitlines(), 1):
        for found in _INLINE.findall(line):
            yield _command(f"{page}:{number}", found, shlex.split(found.rstrip("…")))


def _command(where: str, line: str, words: list[str]) -> Command:
    if any(word in ("<", ">", ">>") for word in words):
        words = words[: next(at for at, word in enumerate(words) if word in ("<", ">", ">>"))]
    variables = []
    while words and re.match(r"^[A-Z_]+=", words[0]):
        variables.append(words.pop(0).partition("=")[0])
    return Command(where, line, tuple(variables), tuple(words))
