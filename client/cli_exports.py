"""Commands that carry runs elsewhere, and bring them in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.errors import BadInput
from client.http import Client
from client.options import AsJson, RunRef
from client.output import out, print_json
from client.render import escape, runs_table, size_words

TRANSFER_S = 600.0  # a big checkpoint takes its time


def register(app: typer.Typer) -> None:
    """Adds the commands to the ``laser`` command."""
    app.command("export", rich_help_panel="Data")(export_run)
    app.command("import", rich_help_panel="Data")(import_run)


def export_run(
    run: RunRef,
    archive: Annotated[
        Path | None, typer.Option(help="One zip file of everything; `laser import` takes it elsewhere.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Carry a run elsewhere: as one file for another installation."""
    with Client(timeout_s=TRANSFER_S) as client:
        run_id = client.find(run)["id"]
        done = {"run": run_id}
        if archive is not None:
            done |= {"archive": str(archive), "size_bytes": client.export_archive(run_id, archive)}
    if len(done) == 1:
        raise BadInput("Say where to: --archive FILE.")
    if as_json:
        print_json(done)
    else:
        out.print(f"{escape(str(archive))}  {size_words(done['size_bytes'])}", highlight=False)


def import_run(
    file: Annotated[Path, typer.Argument(help="What `laser export RUN --archive FILE` wrote.")], as_json: AsJson = False
) -> None:
    """Take over a run from another installation's archive; it is yours here, with its curves, log and checkpoints."""
    with Client(timeout_s=TRANSFER_S) as client:
        run = client.import_archive(file)
    if as_json:
        print_json(run)
    else:
        out.print(runs_table([run]))
