"""Commands about what people add to runs: tags, notes, and views of the list."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from client.errors import BadInput
from client.http import Client, Json
from client.options import AsJson, RunRef
from client.output import notes, out, print_json
from client.render import escape, runs_table, views_table

view = typer.Typer(help="Filters of the run list, kept under a name.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds the commands to the ``laser`` command."""
    app.command(rich_help_panel="Runs", context_settings={"ignore_unknown_options": True})(tag)
    app.command(rich_help_panel="Runs")(note)
    app.add_typer(view, name="view", rich_help_panel="Runs")


def tag(
    words: Annotated[list[str], typer.Argument(metavar="RUN... +TAG -TAG", help="Runs, tags to add, tags to remove.")],
    as_json: AsJson = False,
) -> None:
    """Add tags to runs and remove others, such as: laser tag 12 13 +ablation -tried"""
    added, removed = ([word[1:] for word in words if word.startswith(sign)] for sign in "+-")
    references = [word for word in words if word[:1] not in ("+", "-")]
    if not references or not (added or removed):
        raise BadInput("Expected runs, and tags with + or - before them, such as: laser tag 12 13 +ablation -tried")
    with Client() as client:
        ids = [client.find(reference)["id"] for reference in references]
        found = [client.change(run_id, add_tags=added, remove_tags=removed) for run_id in ids]
    if as_json:
        for run in found:
            print_json(run)
    else:
        out.print(runs_table(found))


def note(
    run: RunRef,
    text: Annotated[
        str | None, typer.Argument(help="Markdown; - reads standard input. Without it the note is shown.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show or write the note on a run."""
    with Client() as client:
        found = client.find(run)
        if text == "-":
            text = sys.stdin.read()
        if text is not None:
            found = client.change(found["id"], note=text)
    if as_json:
        print_json(found)
    elif found["note"]:
        out.print(escape(found["note"].rstrip()), highlight=False)
    else:
        notes.print(f"No note on {found['id']}.")


@view.command("list")
def list_views(as_json: AsJson = False) -> None:
    """All of yours."""
    with Client() as client:
        found = client.get("views")["items"]
    if as_json:
        print_json(found)
    else:
        out.print(views_table(found))


@view.command("save")
def save(
    name: Annotated[str, typer.Argument(help="The same name again overwrites.")],
    filter: Annotated[str, typer.Option("--filter", "-f", help="As of `laser runs --filter`.")] = "",
    sort: Annotated[str, typer.Option(help="As of `laser runs --sort`.")] = "",
    columns: Annotated[list[str] | None, typer.Option("--column", help="Of the table; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Keep a filter, for the browser and for `laser runs --view`."""
    with Client() as client:
        kept = client.save_view(name, filter=filter, sort=sort, columns=columns or [])
    if as_json:
        print_json(kept)
    else:
        out.print(views_table([kept]))


@view.command("delete")
def delete(
    name: Annotated[str, typer.Argument(help="Its name.")],
    as_json: AsJson = False,
) -> None:
    """Forget a view; its runs stay."""
    with Client() as client:
        found = find_view(client, name)
        client.delete_view(found["id"])
    if as_json:
        print_json(found)
    else:
        out.print(f"Deleted {escape(name)}.", highlight=False)


def find_view(client: Client, name: str) -> Json:
    """Raises BadInput."""
    for found in client.get("views")["items"]:
        if found["name"] == name:
            return dict(found)
    raise BadInput(f"No view {name!r}. `laser view list` lists yours.")
