"""The reference of everything that has a name: commands, settings, routes, fields of a configuration. `make reference`.

    python docs/make_reference.py [--check]

Every word in docs/reference/ is the code's own: help of commands, descriptions of settings and parameters, docstrings of
routes. What has none fails, and so does, with ``--check``, a page that isn't what the code says now.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import typer.main
from pydantic_core import PydanticUndefined

from api.openapi import document
from client.commands import app
from laser_core.config import ExperimentConfig, ModelConfig, ProjectionConfig, RunConfig, Store, Task, TrainingConfig
from laser_core.config.experiments import GridSweep, RandomSweep
from laser_core.schema import json_schema
from store.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"

# What is read from the environment elsewhere than in store/settings.py.
CLIENTS = {
    "LASER_URL": "Address of the platform that `laser` and `Client()` speak to; without it the one that runs on `LASER_HOME`.",
    "LASER_TOKEN": "Token that they show it; without it the file `token` in `LASER_HOME`, for this machine's own platform.",
    "LASER_NO_CHECKOUT": "`1`: what they submit doesn't keep git's commit and changes of where they are called.",
}
OFFLINE = {
    "LASER_CACHE": "Folder of downloaded puzzle files; without it `~/.cache/laser`.",
    "LASER_HUB": "Address of the hub that puzzle files come from; without it `https://huggingface.co`.",
}
COMPOSE = {"LASER_DATABASE_PASSWORD": "Password of the database that `docker-compose.yml` starts; it goes into `.env`."}
NEIGHBOURS = {
    "PGPASSWORD": "Password of the PostgreSQL user; it stays out of the address that way.",
    "FORWARDED_ALLOW_IPS": "Proxies whose `X-Forwarded-*` headers are believed; without it those on this machine.",
    "OMP_NUM_THREADS": "CPU threads of a training process; without it the cores divided by the slots.",
    "CUDA_VISIBLE_DEVICES": "GPUs that a worker may use; without it all.",
    "AWS_ENDPOINT_URL": "Address of the S3-compatible storage of `LASER_ARTIFACTS_URL`; without it Amazon's own.",
    "AWS_REGION": "Its region; without it `us-east-1`.",
    "AWS_ACCESS_KEY_ID": "Name of the key for it; without it the machine's own identity is asked for.",
    "AWS_SECRET_ACCESS_KEY": "The key itself.",
}
GROUPS: tuple[tuple[str, Any], ...] = (
    ("Runs", RunConfig),
    ("Tasks", Task),
    ("Model", ModelConfig),
    ("Stores", Store),
    ("Training", TrainingConfig),
    ("Projection", ProjectionConfig),
    ("Experiments", ExperimentConfig),
    ("Sweeps", GridSweep | RandomSweep),
)


class Undocumented(Exception):
    """Names the things that nobody has described."""


@dataclasses.dataclass
class Words:
    """Collects what has no description, so that all of it is told at once."""

    missing: list[str] = dataclasses.field(default_factory=list)

    def of(self, thing: str, text: str | None) -> str:
        """``text`` on one line, fit for a cell of a table."""
        if not (text or "").strip():
            self.missing.append(thing)
        return " ".join((text or "").replace("``", "`").split()).replace("|", "\\|")


def main(arguments: list[str]) -> int:
    try:
        made = pages()
    except Undocumented as error:
        print(error)
        return 1
    if arguments == ["--check"]:
        late = [name for name, text in made.items() if not _is_written(FOLDER / name, text)]
        late += [path.name for path in FOLDER.glob("*") if path.name not in made]
        if late:
            print(f"docs/reference lags behind the code ({', '.join(late)}): run `make reference` and commit it")
        return bool(late)
    FOLDER.mkdir(exist_ok=True)
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


def pages() -> dict[str, str]:
    """Text by file name. Raises Undocumented."""
    words = Words()
    made = {
        f"{name}.md": "\n".join(page(words)).rstrip() + "\n"
        for name, page in (
            ("commands", commands),
            ("configuration", configuration),
            ("routes", routes),
            ("settings", settings),
        )
    }
    if words.missing:
        raise Undocumented(
            "undocumented; give each a description where it is declared:\n  " + "\n  ".join(words.missing)
        )
    return made


def _is_written(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


# --- commands ----------------------------------------------------------------------------------------------------------


def commands(words: Words) -> Iterator[str]:
    yield from _head(
        "Commands",
        "What `laser --help` and `laser COMMAND --help` say. Every command has `--json`: one JSON document on standard "
        "output, or one a line. A run is named by its id, the beginning of it, or its number. Exit codes: 0 done, 1 a run "
        "or verdict went wrong, 2 refused or bad input, 3 nobody answers.",
    )
    root: Any = typer.main.get_command(app)
    found = dict(_leaves(root, "laser", ""))
    panels = list(dict.fromkeys(panel for _, panel in found.values()))
    for panel in panels:
        own = {name: command for name, (command, of) in found.items() if of == panel}
        yield f"## {panel}\n"
        yield from _table(
            ("command", "does"),
            (
                [f"[`{name}`](#{name.replace(' ', '-')})", _first_sentence(words.of(name, command.help))]
                for name, command in own.items()
            ),
        )
        for name, command in own.items():
            yield from _command(words, name, command)


def _leaves(group: Any, path: str, panel: str) -> Iterator[tuple[str, tuple[Any, str]]]:
    for name, command in group.commands.items():
        named = command.rich_help_panel
        own = panel or (named if isinstance(named, str) else "Others")
        if hasattr(command, "commands"):
            yield from _leaves(command, f"{path} {name}", own)
        elif not command.hidden:
            yield f"{path} {name}", (command, own)


def _command(words: Words, name: str, command: Any) -> Iterator[str]:
    parameters = [each for each in command.params if each.name not in ("as_json", "help") and not each.hidden]
    arguments = [each for each in parameters if not each.opts[0].startswith("-")]
    usage = " ".join([name, *(_argument(each) for each in arguments)])
    yield f"### {name}\n"
    yield f"`{usage}`: {words.of(name, command.help)}\n"
    rows = [
        [f"`{_option(each)}`", words.of(f"{name} {each.opts[0]}", each.help), _default_of(each)] for each in parameters
    ]
    if rows:
        yield from _table(("argument, option", "meaning", "default"), rows)


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=\.) (?=[A-Z])", text)[0]


def _argument(parameter: Any) -> str:
    shown = parameter.metavar or parameter.name.upper()
    return shown if parameter.required else f"[{shown}]"


def _option(parameter: Any) -> str:
    if not parameter.opts[0].startswith("-"):
        return _argument(parameter)
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    return names if parameter.is_flag else f"{names} {parameter.metavar or _kind_of(parameter)}"


def _kind_of(parameter: Any) -> str:
    text = str(parameter.type_descriptor.annotation)
    return next(
        (word for kind, word in {"Path": "PATH", "int": "N", "float": "NUMBER"}.items() if kind in text), "TEXT"
    )


def _default_of(parameter: Any) -> str:
    shown = "" if parameter.default in (None, "", False, ()) or parameter.required else f"`{parameter.default}`"
    return f"{shown} (or `{parameter.envvar}`)".strip() if parameter.envvar else shown


# --- configuration -----------------------------------------------------------------------------------------------------


def configuration(words: Words) -> Iterator[str]:
    yield from _head(
        "Configuration",
        "A run is one YAML or JSON object; `kind` says what it does. Every field has a default but those marked "
        "*required*, and an unknown one is refused. The same as JSON Schema: `laser schema`, or `GET /api/v1/schema/run`. "
        "On the command line a field is changed by its path: `--set training.steps=400`.",
    )
    made = [(title, *json_schema(kind, "")) for title, kind in GROUPS]
    members = {title: [each["$ref"] for each in schema.get("oneOf", [schema])] for title, schema, _ in made}
    place = {name: f"[{title.lower()}](#{title.lower()})" for title, names in members.items() for name in names}
    for title, _, definitions in made:
        yield f"## {title}\n"
        for name in members[title]:
            yield from _object(words, name, definitions[name], place)
        words.missing += [
            f"{name}: name it in GROUPS, docs/make_reference.py" for name in definitions if name not in place
        ]


def _object(words: Words, name: str, schema: Any, place: dict[str, str]) -> Iterator[str]:
    fields = schema["properties"]
    if kind := fields.get("kind", {}).get("const"):
        yield f"### `kind: {kind}`\n"
    yield words.of(f"class {name}", schema["description"]) + "\n"
    rows = [
        [
            f"`{field}`",
            words.of(f"{name}.{field}", each.get("description")),
            _values(each, place),
            "*required*" if field in schema["required"] else _shown(each.get("default")),
        ]
        for field, each in fields.items()
        if field != "kind"
    ]
    if rows:
        yield from _table(("field", "meaning", "values", "default"), rows)


def _values(schema: Any, place: dict[str, str]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if refs := re.findall(r'"\$ref": "(\w+)"', json.dumps(schema)):
        return place.get(refs[0], "")
    kinds = {"integer": "whole number", "boolean": "`true`, `false`", "string": "text", "array": "list"}
    kind = kinds.get(schema["type"], schema["type"])
    if schema["type"] == "integer" and "exclusiveMaximum" in schema:
        schema = {**schema, "maximum": schema["exclusiveMaximum"] - 1}
    if "minimum" in schema and "maximum" in schema:
        return f"{kind}, {schema['minimum']:,} to {schema['maximum']:,}"
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    return ", ".join([kind, *(f"{sign} {schema[name]:,}" for name, sign in bounds.items() if name in schema)])


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"`kind: {value['kind']}`" if "kind" in value else "its defaults" if value else "`{}`"
    if value in ("", None):
        return "empty" if value == "" else "none"
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


# --- routes ------------------------------------------------------------------------------------------------------------


def routes(words: Words) -> Iterator[str]:
    yield from _head(
        "Routes",
        "What the platform answers over HTTP; the same for programs, with every field of every answer: `/openapi.json`. A "
        "request shows its token as `Authorization: Bearer …`. Errors are problem details (RFC 9457) that name each field "
        "at fault. Beside these: `/metrics` for Prometheus, `/login` and `/login/oidc` for browsers; every other address is "
        "the web UI's. How lists are filtered: [filter.md](../filter.md).",
    )
    by_tag: dict[str, list[tuple[str, str, Any]]] = {}
    for path, methods in json.loads(document())["paths"].items():
        for method, route in methods.items():
            by_tag.setdefault(route["tags"][0], []).append((method.upper(), path, route))
    for tag, own in by_tag.items():
        yield f"## {tag.capitalize()}\n"
        for method, path, route in own:
            yield from _route(words, method, path, route)


def _route(words: Words, method: str, path: str, route: Any) -> Iterator[str]:
    where = f"{method} {path}"
    yield f"**`{where}`** {words.of(where, route.get('summary')).rstrip('.')}."
    yield (words.of(where, route["description"]) + "\n" if route.get("description") else "")
    rows = [
        [f"`{each['name']}`", words.of(f"{where}: {each['in']} {each['name']}", each.get("description"))]
        for each in route.get("parameters", ())
        if each["in"] != "path"
    ]
    if rows:
        yield from _table(("parameter", "meaning"), rows)


# --- settings ----------------------------------------------------------------------------------------------------------


def settings(words: Words) -> Iterator[str]:
    yield from _head(
        "Settings",
        "All settings come from the environment, and an empty variable is as good as none. API, workers and `laser up` "
        "read them at their start. Where they belong on several machines: [deploy.md](../deploy.md).",
    )
    declared = {f"LASER_{name.upper()}": field for name, field in Settings.model_fields.items()}
    yield from _table(
        ("variable", "meaning", "default"),
        (
            [f"`{name}`", words.of(name, field.description), _setting_default(field.default)]
            for name, field in declared.items()
        ),
    )
    others = {
        "For the client": CLIENTS,
        "Offline, and for training processes": OFFLINE,
        "For containers": COMPOSE,
        "Of others, which are followed too": NEIGHBOURS,
    }
    for title, variables in others.items():
        yield f"## {title}\n"
        yield from _table(("variable", "meaning"), ([f"`{name}`", text] for name, text in variables.items()))
    known = declared.keys() | CLIENTS.keys() | OFFLINE.keys() | COMPOSE.keys()
    read = {name for text in _sources() for name in re.findall(r"LASER_[A-Z][A-Z_]*[A-Z]", text)}
    words.missing += [f"{name}: describe it in store/settings.py" for name in read - known]


def _setting_default(value: Any) -> str:
    if value is PydanticUndefined or hasattr(value, "get_secret_value") or value == "":
        return ""
    if isinstance(value, Path) and value.is_relative_to(ROOT):
        return f"`{value.relative_to(ROOT)}`"
    return f"`{value}`"


def _sources() -> Iterator[str]:
    for room in ("laser_core", "store", "api", "worker", "client"):
        yield from (path.read_text(encoding="utf-8") for path in (ROOT / room).rglob("*.py"))
    yield from ((ROOT / name).read_text(encoding="utf-8") for name in ("docker-compose.yml", "Dockerfile"))


# --- Markdown ----------------------------------------------------------------------------------------------------------


def _head(title: str, text: str) -> Iterator[str]:
    yield f"# {title}\n"
    yield "<!-- Written by `make reference` from the code's own words: change those. -->\n"
    yield text + "\n"


def _table(names: Iterable[str], rows: Iterable[list[str]]) -> Iterator[str]:
    heads = list(names)
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
