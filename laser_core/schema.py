"""Frozen dataclasses as checked configuration: parse JSON strictly, describe it as JSON Schema.

One declaration serves the offline command, the API and the web form. pydantic would do it, but the core must also run
where only torch, numpy and safetensors are installed (docs/decisions/0002-one-config.md).
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
JsonSchema = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing wrong with a configuration: ``field`` is a dotted path, ``message`` says what came and what was expected."""

    field: str
    message: str


class ConfigError(ValueError):
    """A configuration that can't be used; ``problems`` names every field at fault."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{p.field or 'config'}: {p.message}" for p in problems))

    def under(self, prefix: str) -> ConfigError:
        """The same problems, their fields one level deeper in the tree."""
        return ConfigError(*(Problem(f"{prefix}.{p.field}" if p.field else prefix, p.message) for p in self.problems))


def option(default: Any = dataclasses.MISSING, help: str = "", **limits: Any) -> Any:
    """A dataclass field with its help and limits: ``ge gt le lt`` for numbers, ``max_length`` for strings and lists,
    ``item_max_length`` for the strings of a list."""
    metadata = {"help": help, "limits": limits}
    if isinstance(default, type):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class Checked:
    """Base of configuration dataclasses: an instance that exists is within its limits."""

    def __post_init__(self) -> None:
        problems = [p for f in dataclasses.fields(self) for p in _limit_problems(f, getattr(self, f.name))]  # type: ignore[arg-type]
        if not problems:
            problems = self.cross_check()
        if problems:
            raise ConfigError(*problems)

    def cross_check(self) -> list[Problem]:
        """What no single field can tell; overridden where fields depend on each other."""
        return []


# --- parsing -----------------------------------------------------------------------------------------------------------


def parse(cls: type[T] | Any, data: Any) -> T:
    """Builds ``cls`` (a Checked dataclass or a union of them) from JSON data.

    Raises ConfigError with every unknown field, wrong type and broken limit found.
    """
    return _parse(cls, data)  # type: ignore[no-any-return]


def to_json(value: Any) -> Any:
    """The JSON data that ``parse`` turns into an equal value."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return [to_json(item) for item in value] if isinstance(value, tuple) else value


def _parse(hint: Any, data: Any) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _parse_union(get_args(hint), data)
    if origin is Literal:
        choices = get_args(hint)
        if data not in choices or isinstance(data, bool) != any(isinstance(c, bool) for c in choices):
            raise _problem(f"expected one of {_listed(choices)}, got {_shown(data)}")
        return data
    if origin is tuple:
        if not isinstance(data, list | tuple):
            raise _problem(f"expected a list, got {_shown(data)}")
        return tuple(_parse(get_args(hint)[0], item) for item in data)
    if origin is dict:
        return _parse_object(data)
    if dataclasses.is_dataclass(hint):
        return _parse_dataclass(hint, data)
    return _parse_scalar(hint, data)


def _parse_union(options: tuple[Any, ...], data: Any) -> Any:
    if data is None and type(None) in options:
        return None
    by_kind = {_kind(cls): cls for cls in options if cls is not type(None)}
    if not isinstance(data, Mapping):
        raise _problem(f"expected an object with 'kind' one of {_listed(by_kind)}, got {_shown(data)}")
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in by_kind:
        raise ConfigError(Problem("kind", f"expected one of {_listed(by_kind)}, got {_shown(kind)}"))
    return _parse_dataclass(by_kind[kind], data)


def _parse_object(data: Any) -> dict[str, Any]:
    """An object whose names and values are its owner's to check."""
    if not isinstance(data, Mapping) or not all(isinstance(name, str) for name in data):
        raise _problem(f"expected an object, got {_shown(data)}")
    return dict(data)


def _parse_dataclass(cls: Any, data: Any) -> Any:
    if not isinstance(data, Mapping):
        raise _problem(f"expected an object, got {_shown(data)}")
    hints, fields = _hints(cls), {f.name: f for f in dataclasses.fields(cls)}
    problems = [
        Problem(str(name)[:80], f"unknown field; {cls.__name__} has {_listed(fields)}")
        for name in data
        if name not in fields
    ]
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in data:
            try:
                values[name] = _parse(hints[name], data[name])
            except ConfigError as error:
                problems += error.under(name).problems
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            problems.append(Problem(name, "is required"))
    if problems:
        raise ConfigError(*problems)
    return cls(**values)


def _parse_scalar(hint: Any, data: Any) -> Any:
    if hint is float and isinstance(data, int | float) and not isinstance(data, bool):
        if isinstance(data, int) and abs(data) > 2**53:
            raise _problem(f"expected a number, got {_shown(data)}, too large for one")
        return float(data)
    if hint is int and isinstance(data, float) and data.is_integer() and abs(data) <= 2**53:
        return int(data)
    if type(data) is not hint:
        wanted = {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}[hint]
        raise _problem(f"expected {wanted}, got {_shown(data)}")
    return data


@functools.cache
def _hints(cls: Any) -> Mapping[str, Any]:
    """Reading annotations again for every field of every run would be most of the time that parsing takes."""
    return get_type_hints(cls)


# --- limits ------------------------------------------------------------------------------------------------------------

_RELATIONS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "ge": (lambda value, bound: value >= bound, "at least"),
    "gt": (lambda value, bound: value > bound, "more than"),
    "le": (lambda value, bound: value <= bound, "at most"),
    "lt": (lambda value, bound: value < bound, "less than"),
}


def _limit_problems(field: dataclasses.Field[Any], value: Any) -> list[Problem]:
    limits: Mapping[str, Any] = field.metadata.get("limits", {})
    if isinstance(value, float) and not math.isfinite(value):
        return [Problem(field.name, f"expected a finite number, got {value}")]
    for name, (holds, words) in _RELATIONS.items():
        if name in limits and not holds(value, limits[name]):
            return [Problem(field.name, f"expected {words} {limits[name]}, got {_shown(value)}")]
    if (len_limit := limits.get("max_length")) and len(value) > len_limit:
        return [Problem(field.name, f"expected at most {len_limit} long, got {len(value)}")]
    if (item_limit := limits.get("item_max_length")) and any(not item or len(item) > item_limit for item in value):
        return [Problem(field.name, f"each must have 1 to {item_limit} characters")]
    return []


# --- JSON Schema -------------------------------------------------------------------------------------------------------

_SCALARS = {int: "integer", float: "number", bool: "boolean", str: "string"}
_KEYWORDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def json_schema(hint: Any, ref: str = "#/$defs/") -> tuple[JsonSchema, dict[str, JsonSchema]]:
    """JSON Schema 2020-12 of a Checked dataclass or union: (schema, definitions referred to as ``ref`` + name)."""
    definitions: dict[str, JsonSchema] = {}
    return _schema(hint, ref, definitions), definitions


def _schema(hint: Any, ref: str, definitions: dict[str, JsonSchema]) -> JsonSchema:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        members = [cls for cls in get_args(hint) if cls is not type(None)]
        schemas = [_schema(cls, ref, definitions) for cls in members]
        if len(members) < len(get_args(hint)):
            return {"anyOf": [*schemas, {"type": "null"}]}
        mapping = {_kind(cls): schema["$ref"] for cls, schema in zip(members, schemas, strict=True)}
        return {"oneOf": schemas, "discriminator": {"propertyName": "kind", "mapping": mapping}}
    if origin is Literal:
        choices = list(get_args(hint))
        head: JsonSchema = {"const": choices[0]} if len(choices) == 1 else {"enum": choices}
        return head | {"type": _SCALARS[type(choices[0])]}
    if origin is tuple:
        return {"type": "array", "items": _schema(get_args(hint)[0], ref, definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": True}
    if dataclasses.is_dataclass(hint):
        name = hint.__name__  # type: ignore[union-attr]
        if name not in definitions:
            definitions[name] = {}  # holds the place: a definition may be met again below itself
            definitions[name] = _object_schema(hint, ref, definitions)
        return {"$ref": ref + name}
    return {"type": _SCALARS[hint]}


def _object_schema(cls: Any, ref: str, definitions: dict[str, JsonSchema]) -> JsonSchema:
    hints = _hints(cls)
    properties, required = {}, []
    for field in dataclasses.fields(cls):
        limits = field.metadata.get("limits", {})
        schema = _schema(hints[field.name], ref, definitions)
        schema |= {_KEYWORDS[name]: bound for name, bound in limits.items() if name in _KEYWORDS}
        if "max_length" in limits:
            schema["maxItems" if schema.get("type") == "array" else "maxLength"] = limits["max_length"]
        if "item_max_length" in limits:
            schema["items"] |= {"minLength": 1, "maxLength": limits["item_max_length"]}
        if help_text := field.metadata.get("help"):
            schema["description"] = help_text
        if field.default is not dataclasses.MISSING:
            schema["default"] = to_json(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            schema["default"] = to_json(field.default_factory())
        else:
            required.append(field.name)
        properties[field.name] = schema
    described = {"description": " ".join((cls.__doc__ or "").split())}
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False} | described


# --- words -------------------------------------------------------------------------------------------------------------


def _kind(cls: Any) -> str:
    return str(get_args(_hints(cls)["kind"])[0])


def _problem(message: str) -> ConfigError:
    return ConfigError(Problem("", message))


def _listed(names: Any) -> str:
    return ", ".join(str(name) for name in names)


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**20 else f"{str(value)[:12]}…"
    return text if len(text) <= 60 else text[:57] + "…"
