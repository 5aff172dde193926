"""Commands about datasets and files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.http import Client
from client.options import AsJson, RunRef
from client.output import notes, out, print_json
from client.render import datasets_table, escape, preview_table, size_words

DatasetRef = Annotated[str, typer.Argument(metavar="DATASET", help="A dataset's name or id.")]

datasets = typer.Typer(help="Puzzle files (CSV: source,q,a,rating) kept by the platform.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds the commands to the ``laser`` command."""
    app.add_typer(datasets, name="datasets", rich_help_panel="Data")
    app.command(rich_help_panel="Data")(download)


@datasets.command("add")
def add_dataset(
    file: Annotated[Path, typer.Argument(help="CSV file with the header source,q,a,rating.")],
    name: Annotated[str, typer.Option(help="How runs refer to it; by default the file's name.")] = "",
    as_json: AsJson = False,
) -> None:
    """Upload a puzzle file. Every row is checked; the same content again gives the same dataset."""
    with Client(timeout_s=300) as client:
        item = client.add_dataset(file, name)
    if as_json:
        print_json(item)
    else:
        out.print(f"{item['id']} {escape(item['name'])}: {item['rows']:,} puzzles {item['size']}×{item['size']}")


@datasets.command("list")
def list_datasets(as_json: AsJson = False) -> None:
    """All datasets."""
    with Client() as client:
        items = client.datasets()
    if as_json:
        print_json(items)
    elif items:
        out.print(datasets_table(items))
    else:
        notes.print("No datasets yet. Upload one: laser datasets add FILE.csv")


@datasets.command("show")
def show_dataset(
    dataset: DatasetRef,
    rows: Annotated[int, typer.Option(min=1, max=100, help="Puzzles to show.")] = 5,
    as_json: AsJson = False,
) -> None:
    """One dataset and its first puzzles."""
    with Client() as client:
        item, preview = client.dataset(dataset), client.dataset_preview(dataset, rows)
    if as_json:
        print_json({**item, "preview": preview})
        return
    out.print(datasets_table([item]))
    out.print()
    out.print(preview_table(preview))


@datasets.command("delete")
def delete_dataset(dataset: DatasetRef, as_json: AsJson = False) -> None:
    """Delete a dataset that no run uses."""
    with Client() as client:
        client.delete_dataset(dataset)
    if as_json:
        print_json({"deleted": dataset})
    else:
        out.print(f"Deleted {escape(dataset)}.")


def download(
    run: RunRef,
    to: Annotated[Path, typer.Option(help="Directory to put the files in; a folder per run and checkpoint.")] = Path(),
    every: Annotated[bool, typer.Option("--all", help="All checkpoints that are kept, not only the newest.")] = False,
    as_json: AsJson = False,
) -> None:
    """Save the files of a run's newest checkpoint."""
    with Client(timeout_s=300) as client:
        saved = client.download_files(client.find(run)["id"], to, every)
    if as_json:
        print_json(saved)
        return
    for file in saved:
        out.print(f"{escape(file['path'])}  {size_words(file['size_bytes'])}", highlight=False)
