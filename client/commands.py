"""Where all commands of ``laser`` come together."""

from __future__ import annotations

import importlib.metadata

import typer

from client import (
    cli_care,
    cli_data,
    cli_experiments,
    cli_exports,
    cli_inspect,
    cli_notes,
    cli_runs,
    cli_stack,
    cli_users,
    cli_verdict,
    cli_webhooks,
    cli_workers,
)
from client.http import Client
from client.options import AsJson
from client.output import out, print_json

app = typer.Typer(
    name="laser",
    help="Train Tiny Recursive Models with and without LASER, and compare them. Start with `laser demo` or `laser up`.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
cli_stack.register(app)
cli_care.register(app)
cli_runs.register(app)
cli_notes.register(app)
cli_experiments.register(app)
cli_inspect.register(app)
cli_data.register(app)
cli_exports.register(app)
cli_workers.register(app)
cli_users.register(app)
cli_webhooks.register(app)
cli_verdict.register(app)


@app.command(rich_help_panel="Platform")
def version(as_json: AsJson = False) -> None:
    """Versions of this command and of the platform it talks to."""
    mine = importlib.metadata.version("laser-lab")
    with Client() as client:
        answer = client.get("version") if client.is_up() else None
    versions = {"client": mine, "url": client.url, "platform": answer}
    if as_json:
        print_json(versions)
        return
    out.print(f"laser {mine}", highlight=False)
    out.print(f"{versions['url']}: {answer.get('version', answer) if answer else 'no answer'}", highlight=False)


@app.command(rich_help_panel="Platform")
def schema(as_json: AsJson = False) -> None:
    """JSON Schema of a run's configuration: every field with its default, limits and meaning. Always JSON."""
    with Client() as client:
        print_json(client.get("schema/run"))
