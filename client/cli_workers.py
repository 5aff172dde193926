"""Commands about workers."""

from __future__ import annotations

from typing import Annotated

import typer

from client.errors import BadInput
from client.http import Client, Json
from client.options import AsJson
from client.output import out, print_json
from client.render import workers_table

WorkerRef = Annotated[str, typer.Argument(metavar="WORKER", help="A worker's id, or its host where it is alone there.")]

worker = typer.Typer(help="Who takes runs.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds the commands to the ``laser`` command."""
    app.add_typer(worker, name="worker", rich_help_panel="Platform")


@worker.command("list")
def list_workers(as_json: AsJson = False) -> None:
    """All workers heard of within a week."""
    with Client() as client:
        _print(client.workers(), as_json)


@worker.command("drain")
def drain(worker: WorkerRef, as_json: AsJson = False) -> None:
    """Let a worker take nothing new, and give its runs back within a minute, each with a checkpoint; for admins."""
    with Client() as client:
        _print([client.drain(_find(client, worker))], as_json)


@worker.command("undrain")
def undrain(worker: WorkerRef, as_json: AsJson = False) -> None:
    """Let a drained worker take runs again; for admins."""
    with Client() as client:
        _print([client.drain(_find(client, worker), False)], as_json)


def _find(client: Client, reference: str) -> str:
    """Raises BadInput where no worker, or more than one, is meant."""
    known = client.workers()
    alive = [worker["id"] for worker in known if worker["alive"] and worker["host"] == reference]
    found = [worker["id"] for worker in known if worker["id"] == reference] or alive
    if len(found) == 1:
        return str(found[0])
    raise BadInput(
        f"{reference!r} fits {len(found)} workers: {', '.join(found)}. Give an id."
        if found
        else f"No worker {reference!r}. `laser worker list` lists them."
    )


def _print(found: list[Json], as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        out.print(workers_table(found))
