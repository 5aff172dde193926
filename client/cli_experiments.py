"""Commands about experiments."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from client.errors import BadInput, RunFailed
from client.http import Client, Json
from client.options import AsJson, NoCheckout, Settings
from client.output import notes, out, print_json
from client.render import age, duration, escape, percent, size_words
from client.submission import read_config, with_settings

ExperimentRef = Annotated[
    str, typer.Argument(metavar="EXPERIMENT", help="An experiment's id, its unique beginning, or its number.")
]
app = typer.Typer(help="Variants × seeds from one file, judged by pairs of equal seed.", no_args_is_help=True)


def register(laser: typer.Typer) -> None:
    """Adds the commands to the ``laser`` command."""
    laser.add_typer(app, name="experiment", rich_help_panel="Runs")


@app.command()
def submit(
    file: Annotated[Path, typer.Argument(help="Experiment in YAML or JSON; - reads standard input.")],
    settings: Settings = None,
    idempotency_key: Annotated[
        str, typer.Option(help="Submitting again with the same key gives the same experiment.")
    ] = "",
    priority: Annotated[str, typer.Option(help="Band: high, normal or low.")] = "normal",
    pool: Annotated[str, typer.Option(help="Only a worker with this label takes its runs.")] = "",
    no_checkout: NoCheckout = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would take, and queue nothing.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when all runs have ended; exit code 1 unless all succeeded.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Queue an experiment: all its runs, or none."""
    config = with_settings(read_config(file), settings or ())
    with Client() as client:
        if dry_run:
            _print_estimate(client.experiments.estimate(config), as_json)
            return
        made = client.experiments.submit(config, idempotency_key or None, priority, pool, checkout=not no_checkout)
        if not wait:
            _print_made(client, made, as_json)
            return
        notes.print(f"{made['runs']} runs: {client.url}/experiments/{made['id']}", highlight=False, soft_wrap=True)
        report = client.experiments.wait(made["id"])
    _print_report(report, as_json)
    if set(report["experiment"]["states"]) != {"succeeded"}:
        raise RunFailed(f"Not every run has succeeded: {_states(report['experiment'])}.")


@app.command("list")
def list_experiments(
    limit: Annotated[int, typer.Option(min=1, max=200, help="Most to show.")] = 20, as_json: AsJson = False
) -> None:
    """List experiments, newest first."""
    with Client() as client:
        page = client.experiments.list(limit)
    if as_json:
        print_json(page)
    elif page["items"]:
        out.print(_list_table(page["items"]))
    else:
        notes.print("No experiments yet. Try: laser experiment submit docs/examples/sudoku-4x4.yaml")


@app.command()
def show(experiment: ExperimentRef, as_json: AsJson = False) -> None:
    """What an experiment shows so far."""
    with Client() as client:
        _print_report(client.experiments.find(experiment), as_json)


@app.command()
def report(
    experiment: ExperimentRef,
    to: Annotated[Path | None, typer.Option(help="File to write it to, in place of standard output.")] = None,
    as_json: AsJson = False,
) -> None:
    """The whole report as Markdown, or with --json as JSON."""
    with Client() as client:
        found = client.experiments.find(experiment)
        text = "" if as_json else client.experiments.markdown(found["experiment"]["id"])
    if to is None:
        print_json(found) if as_json else out.print(text, markup=False, highlight=False, soft_wrap=True, end="")
        return
    try:
        to.write_text(_pretty(found) if as_json else text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{to} can't be written: {error.strerror or error}") from error


@app.command()
def cancel(experiment: ExperimentRef, as_json: AsJson = False) -> None:
    """Cancel an experiment's runs that haven't ended."""
    with Client() as client:
        made = client.experiments.cancel(client.experiments.find(experiment)["experiment"]["id"])
        _print_made(client, made, as_json)


@app.command()
def delete(experiment: ExperimentRef, as_json: AsJson = False) -> None:
    """Delete an ended experiment with its runs and their files."""
    with Client() as client:
        found = client.experiments.find(experiment)["experiment"]["id"]
        client.experiments.delete(found)
    print_json({"deleted": [found]}) if as_json else out.print(f"Deleted {found}.")


# --- words --------------------------------------------------------------------------------------------------------------


def _print_made(client: Client, made: Json, as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    out.print(f"#{made['number']} {made['id']} {escape(made['name'])}: {_states(made)}", highlight=False)
    out.print(f"{client.url}/experiments/{made['id']}", highlight=False, soft_wrap=True)


def _print_report(report: Json, as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    experiment = report["experiment"]
    out.print(f"[bold]#{experiment['number']} {escape(experiment['name'])}[/] {experiment['id']}", highlight=False)
    out.print(f"{_states(experiment)}; margin {experiment['margin']:g} points", highlight=False)
    out.print(_groups_table(report["groups"]))
    out.print()
    out.print(escape(report["sentence"]), highlight=False)
    for line in report["left_out"]:
        out.print(f"Left out: {escape(line)}", highlight=False)


def _print_estimate(estimate: Json, as_json: bool) -> None:
    if as_json:
        print_json(estimate)
        return
    table = _table("Group", "Runs", "Memory at start", "Activations", "Step", "A run", "From")
    for group in estimate["groups"]:
        name = " · ".join(filter(None, (group["variant"], group["point"])))
        told = (
            size_words(group["start_bytes"]),
            size_words(group["saved_bytes"]),
            duration(group["step_time_s"]),
            duration(group["run_s"]),
        )
        table.add_row(escape(name), str(group["runs"]), *told, group["basis"])
    out.print(table)
    runs, slots = f"{estimate['runs']} runs", estimate["slots"]
    if estimate["duration_s"] is not None:
        words = f"{runs}, about {duration(estimate['duration_s'])} on {slots} {'slot' if slots == 1 else 'slots'}"
    elif estimate["work_s"] is not None:
        words = f"{runs}, {duration(estimate['work_s'])} of one slot; no worker is alive"
    else:
        words = f"{runs}; how long they take isn't known: no finished run is like them"
    out.print(words, highlight=False)


def _groups_table(groups: list[Json]) -> Table:
    table = _table("Group", "Seeds", "Accuracy", "Activations", "Step", "Front")
    for group in groups:
        front = "dominated" if group["dominated_by"] else "on it" if group["metric"]["mean"] is not None else "–"
        table.add_row(
            escape(group["name"]),
            f"{group['metric']['count']} of {len(group['runs'])}",
            _interval(group["metric"], percent),
            _interval(group["saved_bytes"], size_words),
            _interval(group["step_time_s"], duration),
            front,
        )
    return table


def _list_table(items: list[Json]) -> Table:
    table = _table("#", "ID", "Name", "Margin", "Runs", "Age")
    for each in items:
        name, margin = escape(each["name"]), f"{each['margin']:g}"
        table.add_row(str(each["number"]), each["id"], name, margin, _states(each), age(each["created_at"]))
    return table


def _table(*names: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in names:
        table.add_column(name)
    return table


def _interval(mean: Json, words: Callable[[float | None], str]) -> str:
    if mean["mean"] is None:
        return "–"
    return words(mean["mean"]) + ("" if mean["low"] is None else f" ({words(mean['low'])} to {words(mean['high'])})")


def _states(experiment: Json) -> str:
    return ", ".join(f"{count} {state}" for state, count in experiment["states"].items()) or "no runs"


def _pretty(report: Json) -> str:
    return json.dumps(report, indent=1, ensure_ascii=False) + "\n"
