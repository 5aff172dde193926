"""Commands that carry runs elsewhere, bring them in, and show that they can be had again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from client.errors import BadInput, RunFailed
from client.http import Client, Json
from client.options import AsJson, RunRef
from client.output import notes, out, print_json
from client.render import checkout_words, escape, runs_table, size_words

if TYPE_CHECKING:
    from client.curves import Curves

TRANSFER_S = 600.0  # a big checkpoint takes its time


def register(app: typer.Typer) -> None:
    """Adds the commands to the ``laser`` command."""
    app.command("export", rich_help_panel="Data")(export_run)
    app.command("import", rich_help_panel="Data")(import_run)
    for command in (checkout, reproduce):
        app.command(rich_help_panel="Runs")(command)


def export_run(
    run: RunRef,
    archive: Annotated[
        Path | None, typer.Option(help="One zip file of everything; `laser import` takes it elsewhere.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Metrics and subspace traces as CSV files in this directory.")
    ] = None,
    parquet: Annotated[Path | None, typer.Option(metavar="DIR", help="The same as Parquet files.")] = None,
    tensorboard: Annotated[Path | None, typer.Option(help="Event files in a folder of this directory.")] = None,
    mlflow: Annotated[str, typer.Option(metavar="URL", help="A run on this MLflow server.")] = "",
    experiment: Annotated[str, typer.Option(help="MLflow's experiment to put it into.")] = "laser-lab",
    as_json: AsJson = False,
) -> None:
    """Carry a run elsewhere: as one file for another installation, as tables, to TensorBoard, to MLflow."""
    if not any((archive, csv, parquet, tensorboard, mlflow)):
        raise BadInput(
            "Say where to: --archive FILE, --csv DIRECTORY, --parquet DIRECTORY, --tensorboard DIRECTORY or --mlflow URL."
        )
    with Client(timeout_s=TRANSFER_S) as client:
        found = client.find(run)
        done: Json = {"run": found["id"]}
        if archive is not None:
            done |= {"archive": str(archive), "size_bytes": client.export_archive(found["id"], archive)}
        for form, folder in (("csv", csv), ("parquet", parquet)):
            if folder is not None:
                done[form] = _export_tables(client, found["id"], form, folder)
        if tensorboard is not None or mlflow:
            done |= _export_curves(found, client.metrics(found["id"]), tensorboard, mlflow, experiment)
    if as_json:
        print_json(done)
        return
    if archive is not None:
        _say("archive", done["archive"], size_words(done["size_bytes"]))
    for form in ("csv", "parquet"):
        for file in done.get(form, ()):
            _say(form, file["path"], size_words(file["size_bytes"]))
    for name in ("tensorboard", "mlflow"):
        if name in done:
            _say(name, done[name], f"{done['points']:,} points")


def _say(what: str, where: str, size: str) -> None:
    out.print(f"{what}: {escape(where)}  {size}", highlight=False, soft_wrap=True)


def _export_tables(client: Client, run_id: str, form: str, folder: Path) -> list[Json]:
    """{path, size_bytes} of each, named as the browser names them."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{folder} can't be made: {error.strerror or error}") from error
    paths = {f"{table}.{form}": folder / f"{run_id}-{table}.{form}" for table in ("metrics", "traces")}
    return [{"path": str(path), "size_bytes": client.export_table(run_id, name, path)} for name, path in paths.items()]


def _export_curves(run: Json, curves: Curves, tensorboard: Path | None, mlflow: str, experiment: str) -> Json:
    from client.to_mlflow import MlflowServer
    from client.to_tensorboard import write_events

    done: Json = {"points": sum(len(curve.steps) for curve in curves.values())}
    if tensorboard is not None:
        write_events(run, curves, tensorboard)
        done |= {"tensorboard": str(tensorboard / run["id"])}
    if mlflow:
        with MlflowServer(mlflow) as server:
            done |= {"mlflow": f"run {server.add(run, curves, experiment)} on {server.url}"}
    return done


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


def checkout(run: RunRef, as_json: AsJson = False) -> None:
    """Print what had been changed where a run was submitted, for `git apply`; and from which commit, on standard error."""
    with Client() as client:
        run_id = client.find(run)["id"]
        kept, diff = client.checkout(run_id), client.checkout_diff(run_id)
    if as_json:
        print_json(kept)
        return
    details = kept["details"]
    told = [checkout_words(details), *([f"of {details['remote']}"] if details["remote"] else [])]
    told += [f"not kept: {file['path']}: {file['why']}" for file in details["left_out_files"]]
    told += [f"untracked: {name}" for name in details["untracked_names"]]
    again = f"git checkout {details['commit']}" + (f" && laser checkout {run_id} | git apply" if diff else "")
    for line in (*told, f"To have it again: {again}"):
        notes.print(escape(line), highlight=False, soft_wrap=True)
    sys.stdout.buffer.write(diff)


def reproduce(run: RunRef, as_json: AsJson = False) -> None:
    """Submit a run again and compare bit for bit: every metric but times, and the final weights. Exit code 1 if different."""
    from client.reproduce import compare

    with Client(timeout_s=TRANSFER_S) as client:
        first = client.find(run)
        if first["state"] != "succeeded":
            raise BadInput(
                f"Run {first['id']} is {first['state']}; only a run that has succeeded can be compared with."
            )
        second = client.clone(first["id"])
        if not as_json:
            notes.print(f"again as #{second['number']} {second['id']}: {client.url}/runs/{second['id']}")
        second = client.wait(second["id"])
        if second["state"] != "succeeded":
            raise RunFailed(f"Run {second['id']} has {second['state']}: {second['reason']}")
        curves = client.metrics(first["id"]), client.metrics(second["id"])
        ran_with = [next(iter(client.environments(one["id"])), {}) for one in (first, second)]
    found = compare(first, second, curves, (ran_with[0], ran_with[1]))
    if as_json:
        print_json(found)
    else:
        out.print(escape(found["words"]), highlight=False, soft_wrap=True)
    if not found["identical"]:
        raise typer.Exit(1)
