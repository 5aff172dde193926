"""Commands about runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from client.checkout import here
from client.cli_notes import find_view
from client.errors import RunFailed
from client.http import FINAL_STATES, Client, Json
from client.local import become_run
from client.options import (
    After,
    AsJson,
    GpuMemory,
    Gpus,
    NoCheckout,
    Pool,
    Priority,
    RunRef,
    RunRefs,
    Settings,
    TimeLimit,
)
from client.output import notes, out, print_json
from client.render import (
    checkout_words,
    comparison_table,
    escape,
    log_line,
    metrics_table,
    queue_table,
    run_panel,
    runs_table,
)
from client.submission import read_config, seconds, with_settings

Follow = Annotated[bool, typer.Option("--follow", "-f", help="Print the log as it grows, until the run ends.")]
Wait = Annotated[bool, typer.Option("--wait", help="Return when the run has ended; exit code 1 unless it succeeded.")]


def register(app: typer.Typer) -> None:
    """Adds the commands to the ``laser`` command."""
    for command in (submit, queue, runs, show, logs, metrics, cancel, pause, resume, clone, delete, compare):
        app.command(rich_help_panel="Runs")(command)
    app.command("list", hidden=True)(runs)  # the same by the name that many try first
    app.command("run", rich_help_panel="Runs")(run_here)


def submit(
    file: Annotated[Path, typer.Argument(help="Run configuration in YAML or JSON; - reads standard input.")],
    settings: Settings = None,
    idempotency_key: Annotated[str, typer.Option(help="Submitting again with the same key gives the same run.")] = "",
    priority: Priority = "normal",
    pool: Pool = "",
    time_limit: TimeLimit = "",
    gpus: Gpus = 1,
    gpu_memory: GpuMemory = None,
    after: After = None,
    no_checkout: NoCheckout = False,
    follow: Follow = False,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Queue a run."""
    config = with_settings(read_config(file), settings or ())
    with Client() as client:
        asked = _asked(client, priority, pool, time_limit, after) | {"gpus": gpus, "gpu_memory": gpu_memory}
        made = client.submit(config, idempotency_key or None, checkout=not no_checkout, **asked)
        _follow_up(client, made, follow, wait, as_json)


def run_here(
    file: Annotated[Path, typer.Argument(help="Run configuration in YAML or JSON; - reads standard input.")],
    settings: Settings = None,
    directory: Annotated[Path | None, typer.Option(help="Where results go; runs/NAME if not given.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint in the directory.")
    ] = False,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of torch; 0 for its own choice.")] = 0,
    no_checkout: NoCheckout = False,
    as_json: AsJson = False,
) -> None:
    """Carry out a run here and now, without a platform; the files are those of `python -m laser_core`."""
    options = ["--directory", str(directory)] if directory else []
    options += ["--threads", str(threads)] if threads else []
    options += ["--resume"] * resume + ["--json"] * as_json
    become_run(with_settings(read_config(file), settings or ()), options, here(not no_checkout))


def queue(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most runs to show.")] = 20, as_json: AsJson = False
) -> None:
    """What waits, in the order in which it will start, and why."""
    with Client() as client:
        found = client.queue(limit)
    if as_json:
        print_json(found)
        return
    out.print(queue_table(found))
    out.print(f"{found['total']} waiting, {found['busy']} of {found['slots']} slots busy", highlight=False)


def runs(
    state: Annotated[list[str] | None, typer.Option(help="Only in this state; may be repeated.")] = None,
    kind: Annotated[str, typer.Option(help="train, eval, analysis or inspect; without, all but inspect.")] = "",
    store: Annotated[str, typer.Option(help="Activation store, such as none, checkpoint or laser-coded.")] = "",
    tag: Annotated[list[str] | None, typer.Option(help="Only with this tag; may be repeated.")] = None,
    text: Annotated[str, typer.Option(help="Only with these letters in name, id or tag.")] = "",
    filter: Annotated[
        str, typer.Option("--filter", "-f", help="Such as 'state:running metric.exact_accuracy>0.9' (docs/filter.md).")
    ] = "",
    view: Annotated[str, typer.Option(help="A filter and order kept by `laser view save`.")] = "",
    sort: Annotated[
        str,
        typer.Option(
            help="created, updated, name, state or metric.NAME; a leading - for descending. [default: -created]"
        ),
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=200, help="Most runs to show.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    with Client() as client:
        if view:
            kept = find_view(client, view)
            filter = " ".join(f"({each})" for each in (kept["filter"], filter) if each)
            sort = sort or kept["sort"]
        page = client.runs(
            state=state, kind=kind, store=store, tag=tag, text=text, filter=filter, sort=sort, limit=limit
        )
    if as_json:
        print_json(page)
        return
    if not page["items"]:
        is_chosen = any((state, kind, store, tag, text, filter))
        notes.print("No run fits; `laser runs` lists all." if is_chosen else "No runs here yet. Try: laser demo")
        return
    out.print(runs_table(page["items"]))
    if page["total"] > len(page["items"]):
        notes.print(f"{len(page['items'])} of {page['total']} runs; --limit shows more.", style="bright_black")


def show(run: RunRef, as_json: AsJson = False) -> None:
    """Everything about one run."""
    with Client() as client:
        found = client.find(run)
    if as_json:
        print_json(found)
    else:
        out.print(run_panel(found))


def logs(
    run: RunRef,
    follow: Follow = False,
    as_json: AsJson = False,
) -> None:
    """Print a run's log."""
    with Client() as client:
        run_id = client.find(run)["id"]
        if follow:
            _follow_log(client, run_id, as_json)
            return
        after = 0
        while lines := client.logs(run_id, after):
            for line in lines:
                _print_line(line, as_json)
            after = lines[-1]["seq"]


def metrics(
    run: RunRef,
    keys: Annotated[list[str] | None, typer.Option("--key", help="Only this metric; may be repeated.")] = None,
    points: Annotated[int, typer.Option(min=2, help="Most points per metric; extremes are kept.")] = 1000,
    csv: Annotated[bool, typer.Option("--csv", help="Print every point as CSV.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a run's metrics."""
    with Client() as client:
        run_id = client.find(run)["id"]
        if csv:
            for piece in client.metrics_csv(run_id, keys or ()):
                sys.stdout.write(piece)
            return
        curves = client.series(run_id, keys or (), points)
    if as_json:
        print_json(list(curves.values()))
    elif curves:
        out.print(metrics_table(curves))
    else:
        notes.print("No metrics yet.")


def cancel(references: RunRefs, as_json: AsJson = False) -> None:
    """Cancel runs; one that is training stops within a few seconds."""
    with Client() as client:
        _print_runs([client.cancel(client.find(reference)["id"]) for reference in references], as_json)


def pause(references: RunRefs, as_json: AsJson = False) -> None:
    """Pause runs; one that is training saves a checkpoint and gives its slot away."""
    with Client() as client:
        _print_runs([client.pause(client.find(reference)["id"]) for reference in references], as_json)


def resume(references: RunRefs, as_json: AsJson = False) -> None:
    """Let paused runs go on from their checkpoints, when their turn comes."""
    with Client() as client:
        _print_runs([client.resume(client.find(reference)["id"]) for reference in references], as_json)


def clone(
    run: RunRef,
    settings: Settings = None,
    priority: Priority = "normal",
    pool: Pool = "",
    time_limit: TimeLimit = "",
    gpus: Gpus = 1,
    gpu_memory: GpuMemory = None,
    after: After = None,
    no_checkout: NoCheckout = False,
    follow: Follow = False,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Queue a run with the configuration of an earlier one, changed by --set."""
    with Client() as client:
        changes = with_settings({}, settings or ())
        asked = _asked(client, priority, pool, time_limit, after) | {"gpus": gpus, "gpu_memory": gpu_memory}
        made = client.clone(client.find(run)["id"], changes, checkout=not no_checkout, **asked)
        _follow_up(client, made, follow, wait, as_json)


def delete(references: RunRefs, as_json: AsJson = False) -> None:
    """Delete ended runs with their files."""
    with Client() as client:
        ids = [str(client.find(reference)["id"]) for reference in references]
        for run_id in ids:
            client.delete(run_id)
    if as_json:
        print_json({"deleted": ids})
    else:
        out.print(f"Deleted {', '.join(ids)}.")


def compare(references: RunRefs, as_json: AsJson = False) -> None:
    """Compare activation stores over runs, paired by seed."""
    with Client() as client:
        comparison = client.compare([client.find(reference)["id"] for reference in references])
    if as_json:
        print_json(comparison)
        return
    out.print(comparison_table(comparison))
    out.print()
    out.print(escape(comparison["summary"]))


def _asked(client: Client, priority: str, pool: str, time_limit: str, after: list[str] | None) -> Json:
    """How a run asks to be carried out. Raises BadInput."""
    ids = [client.find(reference)["id"] for reference in after or ()]
    return {"priority": priority, "pool": pool, "time_limit_s": seconds(time_limit), "after": ",".join(ids)}


# --- following a run ---------------------------------------------------------------------------------------------------


def _follow_up(client: Client, run: Json, follow: bool, wait: bool, as_json: bool) -> None:
    if run["checkout"] and not as_json:
        notes.print(f"from {escape(checkout_words(run['checkout']))}", style="bright_black", highlight=False)
    if not (follow or wait):
        _print_runs([run], as_json)
        return
    if not as_json:
        notes.print(f"#{run['number']} {run['id']} {escape(run['name'])}: {client.url}/runs/{run['id']}")
    if follow:
        _follow_log(client, run["id"], as_json)
    run = client.wait(run["id"])
    _print_runs([run], as_json)
    if run["state"] != "succeeded":
        reason = f": {run['reason']}" if run["reason"] else ""
        raise RunFailed(f"Run {run['id']} has {run['state']}{reason}. Its log: laser logs {run['id']}")


def _follow_log(client: Client, run_id: str, as_json: bool) -> None:
    from client.board import Board

    console = out if out.is_terminal else notes  # above whose bar the lines of the log go by
    with Board(console) as board:
        for message in client.stream(run_id, after=0):
            event = message.data
            if message.event == "run" and console.is_terminal and not as_json:
                board.update([event])
            if message.event not in ("log", "state"):
                continue
            _print_line({"seq": event["seq"], "time": event["time"], "epoch": event["epoch"], **event["data"]}, as_json)
            if event["data"].get("state") in FINAL_STATES:
                return


def _print_line(line: Json, as_json: bool) -> None:
    if as_json:
        print_json(line)
    else:
        out.print(log_line(line), soft_wrap=True, highlight=False)


def _print_runs(found: list[Json], as_json: bool) -> None:
    if as_json:
        for run in found:
            print_json(run)
    else:
        out.print(runs_table(found))
