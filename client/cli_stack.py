"""Commands about the platform on this machine: start it, log in, try it."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from client.demo import Plan, platform, print_outcome, require_writable, run_demo, write_report
from client.home import DEFAULT_URL, Home, InUse, Running
from client.http import Client
from client.options import AsJson
from client.output import notes, out, plainly, print_json
from client.stack import Options, running_here, running_stack

DEFAULT_PORT = int(DEFAULT_URL.rpartition(":")[2])


def register(app: typer.Typer) -> None:
    """Adds the commands to the ``laser`` command."""
    for command in (demo, up, open_browser, login):
        app.command(name=command.__name__.partition("_")[0], rich_help_panel="Platform")(command)


def demo(
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Paired seeds.")] = 3,
    variants: Annotated[
        str, typer.Option(help="Activation stores to compare with none, separated by commas.")
    ] = "laser-fused",
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Train the others on when a run fails.")] = False,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps; by default the preset's.")] = None,
    puzzles: Annotated[
        int | None, typer.Option(min=1, help="Unseen puzzles to measure on; by default the preset's.")
    ] = None,
    report: Annotated[Path, typer.Option(help="Where to write the report.")] = Path("demo-report.json"),
    as_json: AsJson = False,
) -> None:
    """Train plain and LASER models in pairs of seeds, and compare them. Starts the platform if none is running."""
    console = notes if as_json else out
    plan = Plan(seeds, tuple(filter(None, variants.split(","))), steps, puzzles, keep_going)
    home = Home.from_environment()
    require_writable(report)
    with platform(home, console) as (url, tend, is_ours):
        with Client(url, home.token if is_ours else None) as client:
            outcome = run_demo(client, plan, console, tend)
        print_outcome(outcome, console)
        write_report(report, outcome.report)
    if as_json:
        print_json(outcome.report)
    look = "`make up` (or `laser up`) shows these runs in the browser" if is_ours else outcome.report["url"]
    console.print(f"demo: {outcome.finding}; report in {report}; {look}", soft_wrap=True, highlight=False)
    if not outcome.is_good:
        raise typer.Exit(1)


def up(
    port: Annotated[int, typer.Option(min=1, max=65_535, envvar="LASER_PORT", help="Port to serve on.")] = DEFAULT_PORT,
    open_it: Annotated[bool, typer.Option("--open/--no-open", help="Open the browser, logged in.")] = False,
    workers: Annotated[int, typer.Option(min=0, max=64, help="Worker processes; 0 when they run elsewhere.")] = 1,
    slots: Annotated[
        int, typer.Option(min=0, max=256, envvar="LASER_SLOTS", help="Runs that one worker trains at once; 0 chooses.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Start the platform on this machine: broker, API with the web UI, and workers. Ctrl-C stops it."""
    home, console = Home.from_environment(), notes if as_json else out
    try:
        with (
            running_stack(home, Options(port, workers, slots), plainly(console)) as stack,
            contextlib.suppress(KeyboardInterrupt, SystemExit),  # the ordinary way to end
        ):
            _welcome(stack.url, home, console, as_json, open_it)
            while True:
                stack.tend()
                time.sleep(0.2)
    except InUse as error:
        _welcome_again(error, home, port, console, as_json, open_it)


def open_browser(as_json: AsJson = False) -> None:
    """Open the web UI in the browser, logged in."""
    with Client() as client:
        url = client.login_url()
    if as_json:
        print_json({"url": url})
    if not _open(url) and not as_json:
        out.print(f"No browser can be opened from here. Open this link, it works once:\n{url}", soft_wrap=True)


def login(as_json: AsJson = False) -> None:
    """Print a link that logs a browser in, once."""
    with Client() as client:
        url = client.login_url()
    if as_json:
        print_json({"url": url})
    else:
        out.print(url, soft_wrap=True, highlight=False)


def _welcome(url: str, home: Home, console: Console, as_json: bool, open_it: bool) -> None:
    with Client(url, home.token) as client:
        link = client.login_url()
        opened = open_it and _open(client.login_url())
    if as_json:
        print_json({"url": url, "login_url": link, "home": str(home.path), "pid": os.getpid()})
        return
    console.print()
    for name, text in (
        ("Web UI", url + (" (opened)" if opened else "")),
        ("Log in", f"{link}  (works once; `laser login` prints a new one)"),
        ("Logs", str(home.logs / "*.log")),
        ("Stop", "Ctrl-C"),
    ):
        console.print(f"[bold]{name:<7}[/] {text}", soft_wrap=True, highlight=False)


def _welcome_again(error: InUse, home: Home, port: int, console: Console, as_json: bool, open_it: bool) -> None:
    """The stack that runs already is as good, unless another port was asked for."""
    running: Running | None = running_here(home)
    if running is None or port not in (DEFAULT_PORT, int(running.url.rpartition(":")[2])):
        raise error
    console.print(f"Already running on {home.path} (process {running.pid}).", soft_wrap=True, highlight=False)
    _welcome(running.url, home, console, as_json, open_it)


def _open(url: str) -> bool:
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False  # webbrowser would start a text browser in this terminal
    return webbrowser.open(url)
