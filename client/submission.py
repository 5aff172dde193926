"""From a file and ``--set`` options to the body of a request. What a run may hold is the server's to judge."""

from __future__ import annotations

import copy
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from client.errors import BadInput

Json = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, but with 1e-3 as a number, as YAML 1.2 and everybody else has it."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_config(path: Path) -> Json:
    """A run configuration from a YAML or JSON file, or from standard input for ``-``. Raises BadInput."""
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text()
        data = parse_yaml(text)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        raise BadInput(f"{path} is neither YAML nor JSON: {error}") from error
    if not isinstance(data, dict):
        raise BadInput(f"{path} must hold one run configuration (an object), not {type(data).__name__}.")
    return data


def parse_yaml(text: str) -> Any:
    """YAML or JSON text as data."""
    return yaml.load(text, Loader=_Loader)


def with_settings(config: Json, settings: Iterable[str]) -> Json:
    """The configuration with every ``path=value`` of ``settings`` put in; values are YAML.

    A new ``kind`` (``store.kind=laser``) starts that part from its defaults: fields of the old kind would not fit.
    """
    config = copy.deepcopy(config)
    for setting in settings:
        path, separator, text = setting.partition("=")
        if not separator or not all(path.split(".")):
            raise BadInput(f"--set {setting}: expected FIELD=VALUE, such as training.steps=500")
        _put(config, path.split("."), _value(text))
    return config


def seconds(text: str) -> float | None:
    """Of a time such as 90s, 30m, 1.5h or 2d; None for an empty one. Raises BadInput."""
    if not text:
        return None
    matched = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if not matched:
        raise BadInput(f"{text!r}: expected a time such as 90s, 30m, 12h or 2d")
    return float(matched[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}[matched[2]]


def _put(config: Json, path: list[str], value: Any) -> None:
    *parents, name = path
    for parent in parents:
        if not isinstance(config.get(parent), dict):
            config[parent] = {}
        config = config[parent]
    if name == "kind" and parents and config.get("kind") not in (None, value):
        config.clear()
    config[name] = value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return parse_yaml(text)
    except yaml.YAMLError:
        return text
