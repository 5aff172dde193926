"""``laser inspect``: follow one puzzle through a trained model."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from client.errors import RunFailed
from client.grid import inspection_view
from client.http import Client, Json
from client.options import AsJson, RunRef
from client.output import notes, out, print_json


def register(app: typer.Typer) -> None:
    """Adds the command to the ``laser`` command."""
    app.command(rich_help_panel="Runs")(inspect)


def inspect(
    run: RunRef,
    puzzle: Annotated[
        str, typer.Option(help="A Sudoku of 81, 36 or 16 characters, . or 0 for a blank; or a maze.")
    ] = "",
    index: Annotated[int, typer.Option(min=0, help="Which puzzle of the run's task, where none is given.")] = 0,
    split: Annotated[str, typer.Option(help="Which part of the task: train or test.")] = "test",
    steps: Annotated[int, typer.Option(min=1, max=64, help="Supervision steps given to the puzzle.")] = 16,
    beside: Annotated[str, typer.Option(metavar="RUN", help="Another run, whose answer is shown too.")] = "",
    as_json: AsJson = False,
) -> None:
    """Follow one puzzle through a run's newest checkpoint: its answer, and the rules that this breaks."""
    asked = {"puzzle": puzzle} if puzzle else {"index": index, "split": split}
    with Client() as client:
        trained = [client.find(reference) for reference in (run, beside) if reference]
        settings = {"kind": "inspect", "supervision_steps": steps, **asked}
        made = [client.submit({**settings, "checkpoint": one["id"]}) for one in trained]
        found = [_answer(client, one["id"]) for one in made]
    if as_json:
        print_json(found if beside else found[0])
        return
    for one, inspection, origin in zip(made, found, trained, strict=True):
        notes.print(
            f"#{origin['number']} {origin['id']}, inspection {one['id']}", style="bright_black", highlight=False
        )
        out.print(inspection_view(inspection))


def _answer(client: Client, run_id: str) -> Json:
    run: dict[str, Any] = client.wait(run_id, poll_s=0.2)
    if run["state"] != "succeeded":
        raise RunFailed(f"Inspection {run_id} has {run['state']}: {run['reason'] or 'its log may say why'}")
    return client.inspection(run_id)
