"""Commands about webhooks."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table

from client.errors import BadInput, RunFailed
from client.http import Client, Json
from client.options import AsJson
from client.output import notes, out, print_json
from client.render import escape, when

Reference = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Its id, as `laser webhook list` shows it.")]
TEST_S = 30.0

webhook = typer.Typer(help="Tell other programs when runs and experiments end.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds the commands to the ``laser`` command."""
    app.add_typer(webhook, name="webhook", rich_help_panel="Users")


@webhook.command("add")
def add(
    url: Annotated[str, typer.Argument(help="http:// or https:// address that takes a POST.")],
    events: Annotated[
        list[str] | None,
        typer.Option(
            "--event",
            help="run.succeeded, run.failed, run.cancelled, run.lost or experiment.decided; may be repeated. All without.",
        ),
    ] = None,
    filter: Annotated[
        str, typer.Option("--filter", "-f", help="Only runs that fit, as of `laser runs --filter`.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Add a webhook and print the secret that it signs with, once."""
    with Client() as client:
        made = client.add_webhook(url, events or (), filter)
    if as_json:
        print_json(made)
        return
    notes.print(f"{made['webhook']['id']} signs with this; it is shown once:", highlight=False)
    out.print(made["secret"], soft_wrap=True, highlight=False, markup=False)


@webhook.command("list")
def list_webhooks(as_json: AsJson = False) -> None:
    """All of yours."""
    with Client() as client:
        found = client.webhooks()
    _print(found, as_json, _webhooks_table(found))


@webhook.command("enable")
def enable(webhook: Reference, as_json: AsJson = False) -> None:
    """Let a webhook go on that was disabled after too many failures."""
    with Client() as client:
        found = client.enable_webhook(webhook)
    _print(found, as_json, _webhooks_table([found]))


@webhook.command("remove")
def remove(webhook: Reference, as_json: AsJson = False) -> None:
    """Remove a webhook, with what waits to be sent to it."""
    with Client() as client:
        client.delete_webhook(webhook)
    _print({"removed": webhook}, as_json, f"Removed {escape(webhook)}.")


@webhook.command("test")
def send_test(webhook: Reference, as_json: AsJson = False) -> None:
    """Send a test and say how it went. Exit code 1 where it wasn't delivered."""
    with Client() as client:
        made = client.test_webhook(webhook)
        deadline = time.monotonic() + TEST_S
        while not made["answer"]:
            if time.monotonic() > deadline:
                raise BadInput(f"Nothing was sent within {TEST_S:g} s: is a worker running? It will be, later.")
            time.sleep(0.5)
            made = next((one for one in client.deliveries(webhook) if one["id"] == made["id"]), made)
    _print(made, as_json, escape(made["answer"]))
    if made["delivered_at"] is None:
        raise RunFailed("The test wasn't delivered; it will be tried again.")


@webhook.command("deliveries")
def deliveries(webhook: Reference, as_json: AsJson = False) -> None:
    """What was sent to a webhook and how it went, newest first."""
    with Client() as client:
        found = client.deliveries(webhook)
    _print(found, as_json, _deliveries_table(found))


def _print(answer: Any, as_json: bool, words: RenderableType) -> None:
    if as_json:
        print_json(answer)
    else:
        out.print(words, highlight=False)


def _webhooks_table(found: list[Json]) -> Table:
    table = Table("Webhook", "Address", "Events", "Filter", "State", box=None)
    for one in found:
        state = "on" if one["disabled_at"] is None else f"disabled: {one['disabled_why']}"
        cells = (one["id"], one["url"], " ".join(one["events"]), one["filter"], state)
        table.add_row(*map(escape, cells))
    return table


def _deliveries_table(found: list[Json]) -> Table:
    table = Table("Delivery", "Event", "Made", "Tries", "Answer", "Next", box=None)
    for one in found:
        following = "" if one["next_at"] is None else when(one["next_at"])
        cells = (one["id"], one["event"], when(one["created_at"]), str(one["attempts"]), one["answer"], following)
        table.add_row(*map(escape, cells))
    return table
