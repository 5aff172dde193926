"""Commands for whoever runs the platform: is all well, keep a copy, bring it back."""

from __future__ import annotations

import typer
from rich.table import Table

from client.doctor import Finding, examine
from client.home import Home
from client.options import AsJson
from client.output import notes, out, print_json
from client.render import escape

MARKS = {"ok": "[green]ok[/]", "warning": "[yellow]note[/]", "failed": "[red]FAIL[/]"}


def register(app: typer.Typer) -> None:
    """Adds the commands to the ``laser`` command."""
    app.command(rich_help_panel="Platform")(doctor)


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


def _table(found: list[Finding]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for finding in found:
        advice = f"\n[bold]→[/] {escape(finding['advice'])}" if finding["advice"] else ""
        table.add_row(MARKS[finding["status"]], escape(finding["name"]), escape(finding["found"]) + advice)
    return table
