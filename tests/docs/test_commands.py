"""Every command that the documentation names is one: its options are parsed by the command line's own parser, its Makefile
target and its module exist, its configuration is accepted. Those that can be are carried out in tests/e2e/test_docs.py."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from typer._click.exceptions import BadOptionUsage, ClickException, MissingParameter

from client.commands import app
from docs import make_reference
from laser_core.config import parse_experiment, parse_run
from store.settings import Settings
from tests.docs.pages import ROOT, Block, Command, blocks, commands, inline, pages, service_lines, shell_lines

OTHERS = {  # what isn't ours to check
    "apt", "cd", "celery", "chmod", "chown", "createdb", "createuser", "curl", "docker", "git", "mkdir", "mlflow",
    "pip", "pre-commit", "sh", "source", "systemctl", "tensorboard", "timedatectl",
}  # fmt: skip
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
VARIABLES = {f"LASER_{name.upper()}" for name in Settings.model_fields} | {
    name
    for group in (make_reference.CLIENTS, make_reference.OFFLINE, make_reference.COMPOSE, make_reference.NEIGHBOURS)
    for name in group
}


@pytest.mark.parametrize("page", pages())
def test_every_command_of_a_page_is_one(page: str) -> None:
    typed = [command for where, line in [*shell_lines(page), *service_lines(page)] for command in commands(where, line)]
    faults = [f"{each.where}: {each.line}: {said}" for each in typed if (said := fault(each))]
    faults += [f"{each.where}: `{each.line}`: {said}" for each in inline(page) if (said := fault(each, is_whole=False))]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("block", [b for page in pages() for b in blocks(page, "yaml")], ids=str)
def test_every_configuration_is_accepted(block: Block) -> None:
    data = yaml.safe_load(block.text)
    if "scrape_configs" in data:  # Prometheus's
        return
    parse_experiment(data) if "variants" in data else parse_run(data)


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md", "docs/howto.md"])
def test_what_a_page_shows_of_an_example_is_the_example(page: str) -> None:
    examples = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / "docs/examples").glob("*.yaml")]
    for block in blocks(page, "yaml"):
        assert yaml.safe_load(block.text) in examples, f"{block} is no file under docs/examples"


@pytest.mark.parametrize("block", [b for page in pages() for b in blocks(page, "python")], ids=str)
def test_every_piece_of_python_names_what_exists(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text, str(block))):
        if isinstance(node, ast.Import):
            assert all(importlib.import_module(each.name) for each in node.names)
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module or "")
            assert [each.name for each in node.names if not hasattr(module, each.name)] == [], str(block)


@pytest.mark.parametrize("page", pages())
def test_links_lead_somewhere(page: str) -> None:
    text = re.sub(r"(?ms)^```.*?^```$", "", (ROOT / page).read_text(encoding="utf-8"))
    targets = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"[a-z]+:", link)]
    faults = []
    for name, _, anchor in (target.partition("#") for target in targets):
        path = ((ROOT / page).parent / name).resolve() if name else ROOT / page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            faults.append(f"{page}: {name}#{anchor}" if anchor else f"{page}: {name}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("laser submit run.yaml --follow --set seed=3", ""),
        ("LASER_SLOTS=2 /opt/laser/.venv/bin/laser up --port 8000  # why not", ""),
        ("laser submit run.yaml --prioritty high", "No such option: --prioritty"),
        ("laser submit", "Missing argument"),
        ("laser runs --limit many", "Invalid value for '--limit'"),
        ("laser experiment sumbit file.yaml", "no command sumbit"),
        ("laser runs && laser recieve", "no command recieve"),
        ("lasr up", "lasr isn't known"),
        ("LASER_SLOT=2 laser up", "no setting LASER_SLOT"),
        ("make dmo", "no target dmo"),
        ("make chaos ERRORS=3", "no variable ERRORS"),
        ("python -m laser_core bench --quick --out front.json", ""),
        ("python -m laser_core bench --quickly", "no option --quickly"),
        ("python -m laser_kern run.json", "no module laser_kern"),
        ("python docs/exmaples/pairs.py", "no file"),
    ],
)  # fmt: skip
def test_the_test_itself_finds_faults(line: str, said: str) -> None:
    found = " ".join(filter(None, map(fault, commands("here", line))))
    assert (said in found) if said else not found


# --- what may be wrong with a command -----------------------------------------------------------------------------------


def fault(command: Command, is_whole: bool = True) -> str:
    """What is wrong with it, empty for nothing. One in a sentence need not be whole."""
    if unknown := {name for name in command.variables if name.startswith("LASER_")} - VARIABLES:
        return f"no setting {', '.join(unknown)}"
    words = command.words[1:]
    match command.program:
        case "laser":
            return laser_fault(words, is_whole)
        case "make":
            return make_fault(words)
        case "python" | "python3":
            return python_fault(words)
        case "":
            return ""
    return "" if command.program in OTHERS else f"{command.program} isn't known: misspelt, or one more for OTHERS?"


def laser_fault(words: Sequence[str], is_whole: bool) -> str:
    parser: Any = typer.main.get_command(app)
    path, rest = "laser", [word for word in words if word != "--help"]
    while hasattr(parser, "commands") and rest and not rest[0].startswith("-"):
        if rest[0].isupper():  # stands for any
            return ""
        if rest[0] not in parser.commands:
            return f"{path} has no command {rest[0]}"
        parser, path = parser.commands[rest[0]], f"{path} {rest.pop(0)}"
    if hasattr(parser, "commands"):
        known = {name for each in parser.params for name in each.opts}
        return "" if set(rest) <= known else f"{path} has no option {' '.join(rest)}"
    try:
        parser.make_context(path, rest)
    except (MissingParameter, BadOptionUsage) as error:
        return error.format_message() if is_whole else ""
    except ClickException as error:
        return error.format_message()
    return ""


def make_fault(words: Sequence[str]) -> str:
    for word in words:
        name, is_variable, _ = word.partition("=")
        if is_variable and f"$({name})" not in MAKEFILE:
            return f"the Makefile has no variable {name}"
        if not is_variable and not re.search(rf"(?m)^{re.escape(word)}:", MAKEFILE):
            return f"the Makefile has no target {word}"
    return ""


def python_fault(words: Sequence[str]) -> str:
    if words[0] != "-m":
        return "" if (ROOT / words[0]).is_file() else f"there is no file {words[0]}"
    # Others are not even looked for: a search for pip makes setuptools drop the distutils that torch has loaded.
    if words[1] in OTHERS:
        return ""
    if importlib.util.find_spec(words[1]) is None:
        return f"there is no module {words[1]}"
    options = [word for word in words[2:] if word.startswith("--")]
    if not options:
        return ""
    commands = [word for word in words[2:3] if re.fullmatch(r"[a-z-]+", word) and not word.startswith("-")]
    told = help_of(words[1], *commands)
    missing = [option for option in options if not re.search(rf"{option}(?![\w-])", told)]
    return f"{words[1]} has no option {', '.join(missing)}" if missing else ""


@functools.cache
def help_of(module: str, *words: str) -> str:
    done = subprocess.run([sys.executable, "-m", module, *words, "--help"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@functools.cache
def anchors(path: Path) -> set[str]:
    """Names of the headings of a page, as GitHub makes them."""
    titles = re.findall(r"(?m)^#+ (.+)$", path.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
