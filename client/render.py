"""Tables and words for people. Whatever the server sends is data: ``escape`` comes before rich and the terminal see it."""

from __future__ import annotations

import datetime
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import rich.markup
import yaml
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

Json = Mapping[str, Any]

STATE_COLOURS = {
    "queued": "cyan",
    "starting": "blue",
    "running": "blue",
    "pausing": "yellow",
    "paused": "yellow",
    "cancelling": "yellow",
    "cancelled": "bright_black",
    "succeeded": "green",
    "failed": "red",
}
LEVEL_COLOURS = {"warning": "yellow", "error": "red"}

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_BARS = "▁▂▃▄▅▆▇█"


def runs_table(runs: Iterable[Json]) -> Table:
    """One line per run."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name, justify in (("#", "right"), ("ID", "left"), ("Name", "left"), ("State", "left"), ("Progress", "left")):
        table.add_column(name, justify=justify, no_wrap=name != "Name")  # type: ignore[arg-type]
    for name in ("Accuracy", "Memory", "Step", "Age"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in runs:
        table.add_row(
            str(run["number"]),
            run["id"],
            escape(run["name"]),
            state(run["state"]),
            progress(run),
            percent(value_of(run, "exact_accuracy")),
            saved(run),
            duration(value_of(run, "step_time_s")),
            age(run["created_at"]),
        )
    return table


def queue_table(queue: Json) -> Table:
    """One line per waiting run, in the order in which they will start."""
    owners = {standing["user"]: standing["name"] for standing in queue["standings"]}
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name, justify in (("#", "right"), ("ID", "left"), ("Name", "left"), ("Owner", "left")):
        table.add_column(name, justify=justify, no_wrap=name != "Name")  # type: ignore[arg-type]
    for name in ("Priority", "Waits", "Starts in"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Why")
    for run in queue["items"]:
        table.add_row(
            str(run["position"] or "–"),
            run["run_id"],
            escape(run["name"]),
            escape(owners.get(run["owner"], run["owner"])),
            f"{run['band']} {run['priority']:.3f}",
            duration(run["waited_s"]),
            duration(run["starts_in_s"]),
            escape(run["reason"]),
        )
    return table


def run_panel(run: Json) -> RenderableType:
    """Everything about one run."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bright_black")
    facts.add_column()
    facts.add_row("State", Group(state(run["state"]), escape(run["reason"])) if run["reason"] else state(run["state"]))
    facts.add_row("Progress", progress(run))
    facts.add_row("Kind", f"{run['kind']} {escape(run['store_kind'])} · seed {run['seed']}")
    facts.add_row("Asked for", escape(asked_words(run)))
    facts.add_row("Tags", escape(", ".join(run["tags"])) or "–")
    if run["note"]:
        facts.add_row("Note", escape(run["note"].rstrip()))
    facts.add_row("Created", when(run["created_at"]))
    if run["checkout"]:
        facts.add_row("Submitted from", escape(checkout_words(run["checkout"])))
    facts.add_row("Started, ended", f"{when(run['started_at'])}, {when(run['finished_at'])}")
    facts.add_row("Attempt", str(run["attempt"]))
    facts.add_row("Exact accuracy", percent(value_of(run, "exact_accuracy")))
    facts.add_row("Saved memory", saved(run))
    facts.add_row("Step time", duration(value_of(run, "step_time_s")))
    config = Text(yaml.safe_dump(run["config"], sort_keys=False, allow_unicode=True).rstrip())
    title = f"[bold]#{run['number']} {escape(run['name'])}[/] {run['id']}"
    return Group(title, facts, Panel(config, title="Configuration", title_align="left", border_style="bright_black"))


def asked_words(run: Json) -> str:
    """How a run asked to be carried out."""
    words = [f"band {run['priority']}"]
    words += [f"a worker labelled {run['pool']}"] if run["pool"] else []
    words += [f"{run['gpus']} GPUs"] if run["gpus"] > 1 else []
    words += [f"{duration(run['time_limit_s'])} at most"] if run["time_limit_s"] else []
    of = "each" if run["gpus"] > 1 else "its device"
    words += [f"{run['memory_asked'] / 2**20:.0f} MiB of {of}"] if run["memory_asked"] else []
    words += [f"after {', '.join(run['after'])}"] if run["after"] else []
    return ", ".join(words)


def checkout_words(checkout: Json) -> str:
    """The commit that a run was submitted from, and how many files had been changed."""
    changed, untracked = checkout["changed"], checkout["untracked"]
    told = " and ".join([f"{changed} changed"] * bool(changed) + [f"{untracked} untracked"] * bool(untracked))
    branch = f" ({checkout['branch']})" if checkout["branch"] else ""
    files = f" with {told} {'file' if changed + untracked == 1 else 'files'}" if told else ""
    missing = f", {checkout['left_out']} not kept" if checkout["left_out"] else ""
    return f"{checkout['commit'][:10]}{branch}{files}{missing}"


def metrics_table(series: Mapping[str, Json]) -> Table:
    """Each curve as a line of blocks with its last, least and greatest value."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("Metric", no_wrap=True)
    table.add_column("Curve", no_wrap=True)
    for name in ("Last", "Min", "Max", "Points"):
        table.add_column(name, justify="right", no_wrap=True)
    for key, curve in series.items():
        values = [value for value in curve["values"] if isinstance(value, int | float) and math.isfinite(value)]
        if values:
            numbers = (number(values[-1]), number(min(values)), number(max(values)), str(curve["count"]))
            table.add_row(escape(key), sparkline(values), *numbers)
    return table


def views_table(views: Iterable[Json]) -> Table:
    """One line per view."""
    table = _table("Name", "Filter", "Sort", "Columns")
    for view in views:
        table.add_row(
            *(escape(text) for text in (view["name"], view["filter"], view["sort"], ", ".join(view["columns"])))
        )
    return table


def datasets_table(datasets: Iterable[Json]) -> Table:
    """One line per dataset."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("ID", "Name", "Grid", "Puzzles", "Size", "Added"):
        table.add_column(name, justify="right" if name in ("Puzzles", "Size") else "left", no_wrap=name != "Name")
    for item in datasets:
        grid = f"{item['size']}×{item['size']}"
        size = size_words(item["size_bytes"])
        table.add_row(item["id"], escape(item["name"]), grid, f"{item['rows']:,}", size, age(item["created_at"]))
    return table


def users_table(users: Iterable[Json]) -> Table:
    """One line per user."""
    table = _table("ID", "Name", "Role", "Shares", "At once", "Added", "Disabled")
    for user in users:
        disabled = age(user["disabled_at"]) if user["disabled_at"] is not None else ""
        part = (f"{user['shares']:g}", str(user["most_running"] or "any"))
        table.add_row(user["id"], escape(user["name"]), user["role"], *part, age(user["created_at"]), disabled)
    return table


def workers_table(workers: Iterable[Json]) -> Table:
    """One line per worker."""
    table = _table("ID", "Device", "Busy", "Labels", "Seen", "State")
    for worker in workers:
        state = "alive" if worker["alive"] else "gone"
        if worker["outdated"]:
            state = f"{state}, of another version"
        if worker["drained_at"] is not None:
            state = f"{state}, drained"
        elif worker["alive"] and worker["unable"]:
            state = f"{state}, takes nothing: {escape(worker['unable'])}"
        busy, labels = f"{len(worker['runs'])}/{worker['slots']}", escape(" ".join(worker["pools"]))
        table.add_row(escape(worker["id"]), escape(worker["device"]), busy, labels, age(worker["seen_at"]), state)
    return table


def tokens_table(tokens: Iterable[Json]) -> Table:
    """One line per token or session."""
    table = _table("ID", "Kind", "Name", "Scope", "Of", "Made", "Until")
    for token in tokens:
        of, made, until = escape(token["user_name"]), age(token["created_at"]), when(token["expires_at"])
        table.add_row(token["id"], token["kind"], escape(token["name"]), token["scope"], of, made, until)
    return table


def audit_table(entries: Iterable[Json]) -> Table:
    """One line per entry."""
    table = _table("#", "Time", "Who", "Action", "Object", "Outcome", "Detail")
    for entry in entries:
        texts = [escape(entry[name]) for name in ("user_name", "action", "object_id", "outcome", "detail")]
        table.add_row(str(entry["number"]), when(entry["time"]), *texts)
    return table


def preview_table(rows: Iterable[Json]) -> Table:
    """Puzzles as they are in the file."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("source", "question", "answer", "rating"):
        table.add_column(name)
    for row in rows:
        table.add_row(*(escape(str(row[name])) for name in ("source", "question", "answer", "rating")))
    return table


def comparison_table(comparison: Json) -> Table:
    """One line per variant: mean (least to greatest) over its runs; ratios of pairs of equal seed."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("Variant", no_wrap=True)
    for name in ("Runs", "Exact accuracy", "Saved bytes", "Of eager", "Step", "Step ratio"):
        table.add_column(name, justify="right")
    ratios = {pairing["variant"]: pairing["step_time_ratio"] for pairing in comparison["pairings"]}
    for group in comparison["groups"]:
        ratio = ratios.get(group["variant"], {"mean": None})
        table.add_row(
            escape(group["variant"]),
            str(len(group["members"])),
            spread(group["exact_accuracy"], percent),
            spread(group["saved_bytes"], size_words),
            percent(group["saved_fraction"]),
            spread(group["step_time_s"], duration),
            f"{ratio['mean']:.2f}×" if ratio["mean"] is not None else "–",
        )
    return table


def _table(*names: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in names:
        table.add_column(name, no_wrap=name not in ("Name", "Detail"))
    return table


def escape(text: str) -> str:
    """Text without markup and without control characters, which could rewrite the terminal."""
    return rich.markup.escape(_CONTROL.sub("�", text))


# --- single values -----------------------------------------------------------------------------------------------------


def value_of(run: Json, name: str) -> float | None:
    """A result of the run, or its newest value while it has none."""
    result: Json = run.get("result") or {}
    result = result.get("values", result)
    latest: Json = run.get("latest") or {}
    live = {
        "exact_accuracy": latest.get("test.exact_accuracy"),
        "saved_bytes": latest.get("memory.saved_bytes"),
        "eager_bytes": latest.get("memory.eager_bytes"),
        "step_time_s": run["step_time_s"],
    }
    value = result.get(name, live.get(name))
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def state(name: str) -> Text:
    """A state in its colour."""
    return Text(name, style=STATE_COLOURS.get(name, ""))


def progress(run: Json) -> RenderableType:
    """A bar with the steps beside it."""
    step, steps = run["step"], run["steps"]
    if not steps:
        return Text("–")
    grid = Table.grid(padding=(0, 1))
    grid.add_row(ProgressBar(total=steps, completed=step, width=10), f"{step / steps:4.0%}")
    return grid


def log_line(line: Json) -> Text:
    """A log line, or a change of state, as ``time what``."""
    text = Text(clock(line["time"]) + " ", style="bright_black")
    if "state" in line:
        reason = f": {line['reason']}" if line.get("reason") else ""
        return text.append(f"{line['state']}{_CONTROL.sub('�', reason)}", style=STATE_COLOURS.get(line["state"], ""))
    return text.append(_CONTROL.sub("�", line["message"]), style=LEVEL_COLOURS.get(line["level"], "default"))


def saved(run: Json) -> str:
    """Saved bytes and their share of eager training's."""
    saved_bytes, eager_bytes = value_of(run, "saved_bytes"), value_of(run, "eager_bytes")
    if saved_bytes is None:
        return "–"
    share = f" ({saved_bytes / eager_bytes:.0%})" if eager_bytes else ""
    return size_words(saved_bytes) + share


def spread(values: Json, words: Any) -> str:
    """Mean, with the range when there are several."""
    if values["mean"] is None:
        return "–"
    several = values["count"] > 1 and values["min"] != values["max"]
    return f"{words(values['mean'])}" + (f" ({words(values['min'])}–{words(values['max'])})" if several else "")


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """The curve as ``width`` blocks of eight heights; each block is the mean of its stretch."""
    width = min(width, len(values))
    edges = [round(i * len(values) / width) for i in range(width + 1)]
    means = [math.fsum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, high = min(means), max(means)
    return "".join(_BARS[round((m - low) / (high - low) * 7)] if high > low else _BARS[0] for m in means)


def percent(value: float | None) -> str:
    """A share of one."""
    return "–" if value is None else f"{value:.1%}"


def number(value: float) -> str:
    """Four significant digits."""
    return f"{value:,.0f}" if abs(value) >= 10_000 and value == int(value) else f"{value:.4g}"


def size_words(value: float | None) -> str:
    """Bytes in binary units."""
    if value is None:
        return "–"
    power = min(4, int(math.log2(value) // 10)) if value >= 1 else 0
    scaled = value / 1024**power
    return f"{scaled:.{1 if power and scaled < 100 else 0}f} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"


def duration(value_s: float | None) -> str:
    """Seconds in the unit that suits them."""
    if value_s is None:
        return "–"
    if value_s < 1:
        return f"{value_s * 1000:.3g} ms"
    if value_s < 120:
        return f"{value_s:.3g} s"
    return f"{value_s / 60:.0f} min" if value_s < 7200 else f"{value_s / 3600:.1f} h"


def age(at: float) -> str:
    """How long ago, in the largest unit."""
    passed = max(0.0, datetime.datetime.now(datetime.UTC).timestamp() - at)
    for unit, seconds in (("d", 86_400), ("h", 3600), ("min", 60)):
        if passed >= seconds:
            return f"{passed / seconds:.0f} {unit} ago"
    return f"{passed:.0f} s ago"


def when(at: float | None) -> str:
    """Local date and time."""
    return "–" if at is None else datetime.datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")


def clock(at: float) -> str:
    """Local time of day."""
    return datetime.datetime.fromtimestamp(at).strftime("%H:%M:%S")
