"""Commands for whoever runs the platform: is all well, keep a copy, bring it back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from client.doctor import Finding, examine
from client.errors import BadInput
from client.home import Home, InUse
from client.http import Json
from client.options import AsJson
from client.output import notes, out, print_json
from client.render import escape

MARKS = {"ok": "[green]ok[/]", "warning": "[yellow]note[/]", "failed": "[red]FAIL[/]"}


def register(app: typer.Typer) -> None:
    """Adds the commands to the ``laser`` command."""
    for command in (doctor, backup, restore):
        app.command(rich_help_panel="Platform")(command)


def doctor(as_json: AsJson = False) -> None:
    """Check this installation and the platform it belongs to, and say what to do. Exit code 1 when something fails."""
    with notes.status("Looking …"):
        found = list(examine(Home.from_environment()))
    failed = sum(finding["status"] == "failed" for finding in found)
    if as_json:
        print_json({"ok": not failed, "findings": found})
    else:
        out.print(_table(found))
        out.print(f"{failed} of {len(found)} fail" if failed else f"all {len(found)} are well enough to work")
    if failed:
        raise typer.Exit(1)


def backup(
    file: Annotated[Path, typer.Argument(help="Where to write it; such as backup.zip.")],
    files: Annotated[bool, typer.Option("--files", help="Also checkpoints, reports and datasets.")] = False,
    as_json: AsJson = False,
) -> None:
    """Copy the database into one file, while the platform goes on. Keep it safe: it holds hashes of tokens."""
    made = _carry_out("make", file, *(["--files"] if files else []))
    _tell(made, as_json, f"{made['rows']} rows and {made['files']} files of schema {made['schema']} are in {file}.")


def restore(
    file: Annotated[Path, typer.Argument(help="What `laser backup` wrote.")],
    as_json: AsJson = False,
) -> None:
    """Fill an empty database from a backup, be it SQLite or PostgreSQL. Stop the platform and all workers first."""
    home = Home.from_environment()
    if (running := home.running()) is not None:
        raise InUse(home.path, running)
    made = _carry_out("restore", file)
    _tell(made, as_json, f"{made['rows']} rows and {made['files']} files are back. Start the platform: laser up")


def _carry_out(what: str, *arguments: object) -> Json:
    command = [sys.executable, "-m", "store.backup", what, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BadInput(done.stderr.strip()[-2000:])
    return dict(json.loads(done.stdout))


def _tell(made: Json, as_json: bool, words: str) -> None:
    if as_json:
        print_json(made)
    else:
        out.print(escape(words), highlight=False, soft_wrap=True)


def _table(found: list[Finding]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for finding in found:
        advice = f"\n[bold]→[/] {escape(finding['advice'])}" if finding["advice"] else ""
        table.add_row(MARKS[finding["status"]], escape(finding["name"]), escape(finding["found"]) + advice)
    return table
